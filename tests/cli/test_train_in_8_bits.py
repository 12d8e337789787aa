"""`edge train --quantization-aware`: what it leaves is exported, measured and gone on with by the other commands."""

from __future__ import annotations

import pytest

import edge_sdk as edge
from edge_sdk.cli.output import TrainingDisplay
from edge_sdk.quantization.quantization_aware import quantize_aware

SETTINGS = ("--quantization-aware", "--epochs", 2, "--batch", 6, "--learning-rate", 0.001, "--seed", 3)


@pytest.fixture
def finished(run, model, photos, tmp_path):
    """The folder of a run."""
    assert run("train", photos, "--model", model, *SETTINGS, "--out", tmp_path / "whole").code == 0
    return tmp_path / "whole"


def test_the_run_is_exported_without_photos_and_gives_the_same(run, finished, model, photos, tmp_path):
    """Its hint is the command that exports it; file, run and validation have one accuracy."""
    path = tmp_path / "m.tflite"

    said = run("train", photos, "--model", model, *SETTINGS, "--out", tmp_path / "other").out
    report = run("export", finished, "--quantize", "int8", "--check", photos, "--out", path, "--json").json

    assert f"edge export {tmp_path / 'other'} --quantize int8 --out model.tflite" in said
    assert (report["precision"], report["float_tensors"]) == ("int8", [])
    scores = [edge.evaluate(file, photos).scores.tolist() for file in (finished, path)]
    assert scores[0] == scores[1]


def test_the_command_trains_what_quantize_aware_trains(finished, model, photos):
    """Options that are left out have the defaults of that function, not those of plain training."""
    settings = {"epochs": 2, "batch_size": 6, "learning_rate": 0.001, "seed": 3}

    expected = quantize_aware(edge.load(model), photos, **settings).run.model

    assert edge.load(finished).workspace.digest() == expected.workspace.digest()
    told = edge.load(finished).provenance["training"]["settings"]
    assert (told["optimizer"], told["weight_decay"], told["distillation"]) == ("adam", 0.0, 1.0)


def test_an_interrupted_run_goes_on_to_the_same_bytes(run, finished, model, photos, tmp_path, monkeypatch):
    """Ctrl-C in the second epoch ends with 130; the same command with --resume ends with the same file."""
    out = tmp_path / "run"
    call = ("train", photos, "--model", model, *SETTINGS, "--out", out)

    def stop(display, epoch, batch, loss):
        if (epoch, batch) == (1, 2):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TrainingDisplay, "on_batch", stop)
        stopped = run(*call)
    resumed = run(*call, "--resume")

    assert (stopped.code, resumed.code) == (130, 0)
    assert "--resume" in stopped.err
    assert (out / "best.edge").read_bytes() == (finished / "best.edge").read_bytes()
    assert (out / "metrics.jsonl").read_text() == (finished / "metrics.jsonl").read_text()


def test_another_profile_is_another_run(run, refused, model, photos, tmp_path):
    """Epochs are compared by one arithmetic; the run remembers which."""
    out = tmp_path / "run"
    call = ("train", photos, "--model", model, *SETTINGS, "--out", out)
    run(*call, "--profile", "reference")

    message = refused(*call, "--profile", "litert", "--resume")

    assert "the numbers of the validation are not those" in message
    assert edge.load(out).provenance["quantization"]["profile"] == "reference"


@pytest.mark.parametrize("profile", ["reference", "litert", "xnnpack"])
def test_a_profile_measures_runs_and_files_alike(run, finished, photos, tmp_path, profile):
    """`edge eval --profile` computes the int8 file and the run it came from by the same arithmetic."""
    path = tmp_path / "m.tflite"
    run("export", finished, "--quantize", "int8", "--out", path)

    told = [run("eval", file, photos, "--profile", profile, "--json").json for file in (finished, path)]

    assert [one.pop("model") for one in told] == [str(finished), str(path)]
    assert told[0] == told[1]
    assert told[0]["profile"] == profile


def test_mistakes_are_said_before_anything_is_trained(run, refused, finished, model, photos, tmp_path):
    """An untrained network, other classes, options without a meaning, plain training of what learned 8-bit numbers."""
    aware, out = ("--quantization-aware", "--out", tmp_path / "out"), tmp_path / "out"
    edge.load(model).with_labels(["a", "b", "c"]).save(tmp_path / "others.edge")

    assert "train it first" in refused("train", photos, "--model", "resnet18", *aware)
    assert "others.edge does not" in refused("train", photos, "--model", tmp_path / "others.edge", *aware)
    assert "is no option of" in refused("train", photos, "--model", model, "--feature-views", 2, *aware)
    assert "goes with --quantization-aware" in refused(
        "train", photos, "--model", model, "--profile", "litert", "--out", out
    )
    assert "go on with --quantization-aware" in refused(
        "train", photos, "--model", finished / "best.edge", "--out", out
    )
    assert "no profile" in refused("eval", model, photos, "--profile", "litert")
    assert "leave out calibrate" in refused(
        "export", finished, "--quantize", "int8", "--calibrate", photos, "--out", tmp_path / "m.tflite"
    )
    assert not out.exists()
