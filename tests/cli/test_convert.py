"""`edge convert` turns files of other software into .edge files that every command takes."""

from __future__ import annotations

import json

import pytest
from tiny_models import tiny_model

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.converters.tflite.metadata import EDGE_ENTRY, TFLITE_ENTRY
from edge_sdk.model import Model


@pytest.fixture
def plain(tmp_path):
    """A float .tflite file that says nothing about itself."""
    path = tmp_path / "plain.tflite"
    edge.export(tiny_model(), path)
    data = path.read_bytes()
    for entry in (EDGE_ENTRY, TFLITE_ENTRY):
        data = data.replace(entry.encode(), b"_" * len(entry))
    path.write_bytes(data)
    path.with_name("plain.tflite.json").unlink()
    return path


def test_a_shipped_file_is_converted_evaluated_trained_and_exported(run, scenes, tmp_path):
    """From a .tflite file to an .edge file, a training run of it on photos, and an int8 file."""
    network = pretrained.load("mobilenetv2", weights=None, num_classes=2, image_size=64, labels=("cat", "coffee"))
    shipped, converted, better = (tmp_path / name for name in ("shipped.tflite", "converted.edge", "better.tflite"))
    edge.export(network, shipped)

    assert run("convert", shipped, converted).code == 0
    before = run("eval", converted, scenes, "--json").json
    trained = run("train", scenes, "--model", converted, "--out", tmp_path / "run", "--epochs", 2, "--batch", 4)
    exported = run(
        "export", converted, "--quantize", "int8", "--calibrate", scenes, "--check", scenes, "--out", better, "--json"
    )

    assert before["top1"] == run("eval", shipped, scenes, "--json").json["top1"]
    assert trained.code == 0
    assert (exported.code, exported.json["photos"]) == (0, 16)
    assert run("eval", better, scenes, "--json").json["count"] == 16


def test_the_summary_says_what_was_found(run, tflite, tmp_path):
    """Format, precision, network, sizes, labels and preprocessing; nothing was guessed, so there is no warning."""
    result = run("convert", tflite, tmp_path / "a.edge")

    for words in ("tflite (int8, full integer)", "tiny", "3: blue, green, red", "[127, 127, 127]", "as the file says"):
        assert words in result.out
    assert "warning" not in result.err


def test_json_for_machines(run, tflite, tmp_path):
    """The same, with the file that was written."""
    facts = run("convert", tflite, tmp_path / "a.edge", "--json").json

    model = edge.load(tmp_path / "a.edge")
    assert (facts["format"], facts["architecture"], facts["classes"]) == ("tflite", "tiny", 3)
    assert facts["input"] == [16, 16, 3]
    assert facts["operators"] == len(model.graph.nodes)
    assert facts["parameters"] == sum(array.size for array in model.workspace.values())
    assert facts["bytes"] == (tmp_path / "a.edge").stat().st_size


def test_a_guess_is_a_warning(run, plain, tmp_path):
    """It says what was assumed and how to say better."""
    result = run("convert", plain, tmp_path / "a.edge")

    assert result.code == 0
    assert "warning" in result.err
    assert "assumed: pixels / 255" in result.err
    assert "--mean" in result.err


def test_what_the_file_does_not_say_is_given(run, plain, tmp_path):
    """Numbers for all channels or one each, the resizing, the order of channels, names of classes."""
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncat\n", encoding="utf-8")
    options = ("--mean", "1,2,3", "--std", "4", "--resize", "20", "--channels", "bgr", "--labels", labels)

    result = run("convert", plain, tmp_path / "a.edge", *options)

    model = edge.load(tmp_path / "a.edge")
    rule = model.preprocess
    assert (rule.mean, rule.std, rule.resize, rule.channels) == ((1.0, 2.0, 3.0), (4.0,) * 3, 20, "bgr")
    assert model.labels == ("ant", "bee", "cat")
    assert model.provenance["preprocess"] == "given to edge convert"
    assert "warning" not in result.err


def test_labels_may_be_json(run, plain, tmp_path):
    """Names with line ends or commas fit."""
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(["a, b", "c\nd", "☂"]), encoding="utf-8")

    run("convert", plain, tmp_path / "a.edge", "--labels", labels)

    assert edge.load(tmp_path / "a.edge").labels == ("a, b", "c\nd", "☂")


def test_a_file_is_known_by_what_is_in_it(run, tflite, photos, tmp_path):
    """AutoML calls them .lite, others .bin."""
    renamed = tmp_path / "model.lite"
    renamed.write_bytes(tflite.read_bytes())

    converted = run("convert", renamed, tmp_path / "a.edge", "--json")
    evaluated = run("eval", renamed, photos, "--json")

    assert converted.json["format"] == "tflite"
    assert evaluated.json["top1"] == run("eval", tflite, photos, "--json").json["top1"]
    assert edge.load(renamed).labels == edge.load(tflite).labels


def test_other_commands_read_the_file_itself(run, tflite, photos, tmp_path):
    """Inspect prints its program, train starts from it, evaluate takes it through the runtime."""
    program = run("inspect", tflite)
    trained = run("train", photos, "--model", tflite, "--out", tmp_path / "run", "--epochs", 1, "--batch", 6)

    assert "conv2d" in program.out
    assert trained.code == 0
    assert isinstance(edge.load(tflite), Model)


MISTAKES = [
    (("absent.tflite", "a.edge"), "absent.tflite: no such file"),
    (("plain.tflite", "a.tflite"), "write an .edge file, then edge export it"),
    (("plain.tflite", "a.onnx"), "must end in .edge"),
    (("text.txt", "a.edge"), "'.txt' is not one of .onnx, .tflite"),
    (("text.tflit", "a.edge"), "did you mean '.tflite'?"),
    (("text.tflite", "a.edge"), "not a TFL3 file"),
    (("plain.tflite", "a.edge", "--mean", "1,2"), "mean must be 3 finite numbers"),
    (("plain.tflite", "a.edge", "--std", "one"), "--std 'one'"),
    (("plain.tflite", "a.edge", "--std", "0"), "std must be positive"),
    (("plain.tflite", "a.edge", "--channels", "grey"), "one per channel of 'grey'"),
    (("plain.tflite", "a.edge", "--image-size", "32"), "preprocessing makes photos of [32, 32, 3]"),
    (("plain.tflite", "a.edge", "--model", "resnet18"), "--model goes with a checkpoint"),
    (("plain.tflite", "a.edge", "--weights", "text.txt"), "--weights goes with a .prototxt"),
    (("plain.tflite", "a.edge", "--mean", "mean.binaryproto"), "goes with a .prototxt"),
    (("plain.tflite", "a.edge", "--labels", "text.txt"), "3 classes, but there are 1 labels"),
    (("plain.tflite", "a.edge", "--labels", "absent.txt"), "absent.txt"),
    (("plain.tflite", "a.edge", "--labels", "odd.json"), "odd.json: wanted a JSON list"),
    (("net.prototxt", "a.edge"), "--weights W.caffemodel"),
    (("text.caffemodel", "a.edge"), "--weights W.caffemodel"),
    (("net.prototxt", "a.edge", "--weights", "text.caffemodel", "--image-size", "64"), "--image-size: net.prototxt"),
    (("text.pth", "a.edge", "--model", "resnet81"), "did you mean 'resnet18'?"),
    (("text.pth", "a.edge", "--model", "resnet18"), "text.pth"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_mistake(refused, plain, tmp_path, monkeypatch, arguments, message):
    """One or two lines say what is wrong, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    for name in ("text.txt", "text.tflit", "text.tflite", "text.pth", "text.caffemodel", "net.prototxt"):
        (tmp_path / name).write_text("I am no model.", encoding="utf-8")
    (tmp_path / "odd.json").write_text('["a", 1]', encoding="utf-8")
    before = sorted(tmp_path.iterdir())

    assert message in refused("convert", *arguments)
    assert sorted(tmp_path.iterdir()) == before
