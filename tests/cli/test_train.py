"""`edge train` writes a run that the other commands take, stops on Ctrl-C and goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from own_cache import own_cache
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.kernel import device_precisions

SETTINGS = ("--epochs", 3, "--batch", 6, "--learning-rate", 0.05, "--seed", 3)
EDGE = (sys.executable, "-m", "edge_sdk.cli.main")


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """A model file to start from, as `--model` takes it."""
    path = tmp_path_factory.mktemp("untrained") / "tiny.edge"
    tiny_model().save(path)
    return path


@pytest.fixture(scope="module")
def finished(photos, untrained, tmp_path_factory):
    """The folder of an uninterrupted run of the command line, in a process of its own."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    subprocess.run(
        [*EDGE, "train", photos, "--model", untrained, *map(str, SETTINGS), "--out", out],
        check=True, capture_output=True, timeout=100,
    )  # fmt: skip
    return out


def test_a_run_leaves_models_and_metrics(finished):
    """Both models open and know the classes; the metrics are a JSON line an epoch."""
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text("utf-8").splitlines()]

    assert edge.load(finished / "best.edge").labels == ("blue", "green", "red")
    assert edge.load(finished / "last.edge").labels == ("blue", "green", "red")
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_the_command_trains_what_fit_trains(finished, photos):
    """The options reach `edge.fit`: the same settings in Python give the same weights."""
    expected = edge.fit(tiny_model(), photos, epochs=3, batch_size=6, learning_rate=0.05, seed=3)

    assert edge.load(finished).workspace.digest() == expected.model.workspace.digest()


def test_the_precision_is_chosen_and_recorded(run, refused, photos, untrained, tmp_path):
    """With the instructions bf16 trains and the model's provenance says so; without them it is refused in one line."""
    out = tmp_path / "run"
    call = ("train", photos, "--model", untrained, "--epochs", 1, "--batch", 6, "--out", out, "--precision", "bf16")

    if "bfloat16" not in device_precisions("cpu"):
        assert "train with precision 'float32'" in refused(*call)
        return
    result = run(*call)

    assert result.code == 0
    assert edge.load(out).provenance["training"]["settings"]["precision"] == "bf16"


def test_float16_without_a_gpu_is_refused_in_one_line(refused, photos, untrained, tmp_path):
    """The message says what it needs and what to do instead."""
    call = ("train", photos, "--model", untrained, "--out", tmp_path / "run", "--precision", "fp16")

    message = refused(*call)

    assert "precision 'fp16' on device 'cpu': it needs device 'gpu'; train with precision 'float32'" in message


def test_a_zoo_network_trains_at_a_small_size(run, photos, tmp_path):
    """A network by name, with random weights and small photos, gets the folder's classes and says what to do next."""
    out = tmp_path / "run"

    result = run(
        "train", photos, "--model", "resnet18", "--weights", "none", "--image-size", 32, "--epochs", 1, "--batch", 8,
        "--out", out,
    )  # fmt: skip

    model = edge.load(out)
    assert result.code == 0
    assert "best validation accuracy" in result.out
    assert f"edge export {out}" in result.out
    assert (model.name, model.labels, model.preprocess.size) == ("resnet18", ("blue", "green", "red"), (32, 32))


def test_a_model_of_other_classes_gets_a_new_classifier(run, photos, tmp_path):
    """Five classes in the file, three among the photos: a line says so, and the run has the photos' labels."""
    start, out = tmp_path / "five.edge", tmp_path / "run"
    tiny_model(classes=3).with_labels([f"kind {index}" for index in range(5)]).save(start)

    result = run("train", photos, "--model", start, *SETTINGS, "--out", out)

    assert "five.edge has 5 classes, the photos 3: its classifier starts anew" in result.err
    assert edge.load(out).labels == ("blue", "green", "red")


def test_a_run_goes_on_from_another_run_s_folder(run, finished, photos, tmp_path):
    """`--model runs/a` is the best model in that folder, here as wherever a model is wanted."""
    settings = ("--epochs", 1, "--batch", 6, "--seed", 3)

    for name, start in (("folder", finished), ("file", finished / "best.edge")):
        assert run("train", photos, "--model", start, *settings, "--out", tmp_path / name).code == 0

    folder, file = (edge.load(tmp_path / name).workspace.digest() for name in ("folder", "file"))
    assert folder == file


def test_a_photo_that_is_left_out_is_named_once(run, photos, untrained, tmp_path):
    """With its path and the reason, above the progress."""
    data = shutil.copytree(photos, tmp_path / "photos")
    (data / "red" / "torn.png").write_text("I am no photo")

    result = run("train", data, "--model", untrained, *SETTINGS, "--out", tmp_path / "run")

    assert result.err.count("torn.png") == 1
    assert f"left out {data / 'red' / 'torn.png'}: no image of a known format" in result.err


def test_json_is_all_that_stdout_has(run, photos, untrained, tmp_path):
    """Progress goes to stderr, and the figures are those of metrics.jsonl."""
    out = tmp_path / "run"

    result = run("train", photos, "--model", untrained, *SETTINGS, "--out", out, "--json")

    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    best = max(line["validation_accuracy"] for line in lines)
    assert result.json == {"run": str(out), "validation_accuracy": best, "epochs": 3, "unreadable": []}
    assert "epoch 3/3" in result.err


def test_a_frozen_backbone_is_computed_once_and_said(run, photos, untrained, tmp_path, monkeypatch):
    """The line names photos, views, size and folder; the second run finds them; the opt-out says nothing."""
    monkeypatch.setenv("EDGE_CACHE", str(own_cache(tmp_path / "cache")))
    command = ("train", photos, "--model", untrained, *SETTINGS, "--freeze", "backbone", "--feature-views", 2)

    results = [
        run(*command, *more, "--out", tmp_path / name)
        for name, more in (("a", ()), ("b", ()), ("c", ("--no-feature-cache",)))
    ]

    assert [result.code for result in results] == [0, 0, 0]
    assert "backbone is frozen: features of 36 photos are computed once (2 views), " in results[0].err
    assert f" kB in {tmp_path / 'cache' / 'features'}\n" in results[0].err
    assert "features of 36 photos were computed before (2 views)" in results[1].err
    assert "backbone is frozen" not in results[2].err
    assert (tmp_path / "a" / "best.edge").read_bytes() == (tmp_path / "b" / "best.edge").read_bytes()


def test_a_broken_photo_is_left_out_and_named(run, untrained, tmp_path):
    """Training goes on without a photo that cannot be read; person and machine are told which."""
    data = write_photos(tmp_path / "photos", count=4)
    (data / "red" / "torn [1].png").write_bytes((data / "red" / "0.png").read_bytes()[:60])

    settings = ("--epochs", 1, "--batch", 4, "--validation", 0)
    result = run("train", data, "--model", untrained, *settings, "--out", tmp_path / "run", "--json")

    assert result.code == 0
    assert result.json["unreadable"] == ["red/torn [1].png"]
    assert "red/torn [1].png" in result.err


def test_a_finished_run_is_not_overwritten(refused, finished, photos, untrained):
    """A second run into the folder is refused, and the message names the way out."""
    before = (finished / "best.edge").read_bytes()

    message = refused("train", photos, "--model", untrained, *SETTINGS, "--out", finished)

    assert "resume" in message
    assert (finished / "best.edge").read_bytes() == before


def test_resuming_needs_the_same_settings(refused, finished, photos, untrained):
    """A changed setting would not give the run that was asked for first; the message shows both values."""
    changed = (*SETTINGS[:-1], 4)

    message = refused("train", photos, "--model", untrained, *changed, "--out", finished, "--resume")

    assert "seed = 3" in message
    assert "4" in message


def test_ctrl_c_keeps_a_checkpoint_and_resuming_gives_the_same_weights(finished, photos, untrained, tmp_path):
    """Interrupted in the second epoch, the run ends with 130, says how to go on, and goes on to the same bytes."""
    if sys.platform == "win32":
        pytest.skip("Windows has no SIGINT that one process can send to another")
    out = tmp_path / "run"
    arguments = [*EDGE, "train", str(photos), "--model", str(untrained), *map(str, SETTINGS), "--out", str(out)]
    slow = [sys.executable, "-c", SLOW, *arguments[3:]]

    child = subprocess.Popen(slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    assert child.stdout is not None
    for line in child.stdout:
        if line.split() == ["1", "2"]:
            os.kill(child.pid, signal.SIGINT)
            break
    _, err = child.communicate(timeout=60)
    resumed = subprocess.run([*arguments, "--resume"], check=False, capture_output=True, timeout=60)

    assert child.returncode == 130
    assert "--resume" in err
    assert str(out) in err
    assert "Traceback" not in err
    assert resumed.returncode == 0
    assert (out / "best.edge").read_bytes() == (finished / "best.edge").read_bytes()
    assert (out / "metrics.jsonl").read_text() == (finished / "metrics.jsonl").read_text()


def test_what_cannot_be_exported_is_refused_before_training(refused, photos, untrained, tmp_path, monkeypatch):
    """No photo is decoded and no folder is made; the message says what, for which runtime."""
    monkeypatch.setattr("edge_sdk.training.fit.fit", None)
    out = tmp_path / "run"
    arguments = ("train", photos, "--model", untrained, "--out", out)

    unknown = refused(*arguments, "--target-runtime", "2.41")
    old = refused(*arguments, "--target-runtime", "2.1", "--target-precision", "dynamic")

    assert "'2.41' is not between 2.3 and 2.23" in unknown
    assert "'2.1'" in old
    assert not out.exists()


def test_a_network_that_can_be_exported_is_trained(run, photos, untrained, tmp_path):
    """The check costs nothing else: the run is as without it."""
    result = run(
        "train", photos, "--model", untrained, *SETTINGS, "--target-runtime", "2.14", "--out", tmp_path / "run"
    )

    assert result.code == 0
    assert (tmp_path / "run" / "best.edge").exists()


# The command line, with a pause after each batch that leaves the time to interrupt it there.
SLOW = """
import signal, sys, time
# A job in the background of a shell inherits that the signal is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from edge_sdk.cli.main import main
from edge_sdk.cli.output import TrainingDisplay

def on_batch(self, epoch, batch, loss):
    print(epoch, batch, flush=True)
    time.sleep(0.3)

TrainingDisplay.on_batch = on_batch
main(sys.argv[1:])
"""
