"""`edge export` writes the four precisions and reports what `edge.export` reports."""

from __future__ import annotations

import re
import shutil

import pytest
from tiny_models import rescaled_model

import edge_sdk as edge

PRECISIONS = {"none": (), "fp16": (), "dynamic": (), "int8": ("--calibrate",)}
TIMED = {"milliseconds"}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_is_written_and_reported(run, model, photos, tmp_path, precision):
    """The table names file, precision and runtime, the file opens and has the labels."""
    out = tmp_path / "model.tflite"
    calibration = [argument for option in PRECISIONS[precision] for argument in (option, photos)]

    result = run("export", model, "--quantize", precision, *calibration, "--check", photos, "--out", out)

    assert result.code == 0
    assert f"({precision}), 36 photos in" in result.out
    assert "top-1 agreement with the model" in result.out
    assert edge.evaluate(out, photos).labels == ("blue", "green", "red")


def test_the_precisions_differ_in_the_input_they_take(run, model, photos, tmp_path):
    """An int8 file takes pixels, one of float weights takes float32; the choice can be changed."""
    int8 = ("export", model, "--quantize", "int8", "--calibrate", photos, "--json")

    pixels = run(*int8, "--out", tmp_path / "a.tflite").json
    floats = run(*int8, "--input-type", "float32", "--output-type", "uint8", "--out", tmp_path / "b.tflite").json
    plain = run("export", model, "--out", tmp_path / "c.tflite", "--json").json

    assert (pixels["input"], pixels["output"]) == ("uint8[-1, 16, 16, 3]", "float32[-1, 3]")
    assert (floats["input"], floats["output"]) == ("float32[-1, 16, 16, 3]", "uint8[-1, 3]")
    assert (plain["input"], plain["output"]) == ("float32[-1, 16, 16, 3]", "float32[-1, 3]")


def test_json_is_the_report_of_the_function(run, trained, model, photos, tmp_path):
    """The command adds nothing and leaves nothing out; the file has the same bytes."""
    ours, theirs = tmp_path / "ours.tflite", tmp_path / "theirs.tflite"
    report = edge.export(trained, theirs, quantize="int8", calibrate=photos, check=photos).to_dict()

    arguments = ("--quantize", "int8", "--calibrate", photos, "--check", photos, "--out", ours)
    printed = run("export", model, *arguments, "--json").json

    assert printed.keys() == report.keys()
    assert printed["path"] == str(ours)
    assert printed["bytes"] == ours.stat().st_size
    assert {key for key in report if _plain(printed[key]) != _plain(report[key])} <= {"path", *TIMED}
    assert ours.read_bytes() == theirs.read_bytes()


def test_without_photos_the_file_is_still_compared(run, model, tmp_path):
    """There are no labels to be right about then, and the report has dashes and nulls for the accuracies."""
    table = run("export", model, "--out", tmp_path / "a.tflite")
    printed = run("export", model, "--out", tmp_path / "b.tflite", "--json").json

    assert [line.split()[-2] for line in table.out.splitlines() if "accuracy of" in line] == ["–", "–"]
    assert printed["model_accuracy"] is printed["file_accuracy"] is None
    assert printed["agreement"] == 1.0


def test_photos_of_other_classes_are_compared_but_not_judged(run, model, photos, tmp_path):
    """Folders that the model does not know give no accuracy, and a line says why."""
    shutil.copytree(photos / "red", tmp_path / "other" / "scarlet")

    result = run("export", model, "--check", tmp_path / "other", "--out", tmp_path / "a.tflite")

    assert result.code == 0
    assert "no folders named as the model's classes" in result.err


def test_float_tensors_are_counted_where_some_are_not_float(run, model, photos, tmp_path):
    """A float file has nothing but float tensors, so a count of those that were left says nothing of it."""
    plain = run("export", model, "--out", tmp_path / "a.tflite")
    int8 = run("export", model, "--quantize", "int8", "--calibrate", photos, "--out", tmp_path / "b.tflite")

    assert "left in float" not in plain.out
    assert "left in float" in int8.out


def test_a_run_folder_is_exported_by_its_best_model(run, trained, model, tmp_path):
    """The folder of a run stands for its best model."""
    trained.save(tmp_path / "best.edge")

    run("export", tmp_path, "--out", tmp_path / "folder.tflite")
    run("export", model, "--out", tmp_path / "file.tflite")

    assert (tmp_path / "folder.tflite").read_bytes() == (tmp_path / "file.tflite").read_bytes()


def test_a_refused_export_leaves_no_file(refused, model, tmp_path):
    """int8 without photos to calibrate on says what is missing and writes nothing."""
    message = refused("export", model, "--quantize", "int8", "--out", tmp_path / "model.tflite")

    assert "calibrat" in message
    assert list(tmp_path.iterdir()) == []


def _plain(value):
    """A value as JSON gives it back."""
    return list(value) if isinstance(value, tuple) else dict(value) if hasattr(value, "keys") else value


def test_a_file_that_loses_too_much_gets_no_name(run, trained, photos, tmp_path):
    """The command ends with 2 and says what was lost, by rung; only the rejected file and its side-car are there."""
    rescaled_model(trained).save(tmp_path / "hard.edge")
    given = ("export", tmp_path / "hard.edge", "--quantize", "int8", "--calibrate", photos, "--check", photos)

    result = run(*given, "--max-drop", "0.5", "--rungs", "calibration", "--out", tmp_path / "a.tflite")

    message = result.err.splitlines()[-1]
    assert (result.code, result.out) == (2, "")
    assert re.search(r"^edge: .* loses \d+\.\d+ points of accuracy on 36 photos, more than the 0.5 allowed", message)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.rejected.tflite", "a.rejected.tflite.json", "hard.edge"]


def test_the_ladder_is_climbed_from_the_command_line(run, trained, photos, tmp_path):
    """What was tried is shown, and each rung is announced on stderr."""
    rescaled_model(trained).save(tmp_path / "hard.edge")
    given = ("export", tmp_path / "hard.edge", "--quantize", "int8", "--calibrate", photos, "--check", photos)

    result = run(*given, "--max-drop", "0", "--out", tmp_path / "a.tflite")

    assert result.code == 0
    assert "what was tried" in result.out
    assert "edge: equalization …" in result.err
    assert edge.evaluate(tmp_path / "a.tflite", photos).top1 == edge.evaluate(tmp_path / "hard.edge", photos).top1


def test_weights_of_4_bits_make_a_smaller_file(run, model, photos, tmp_path):
    """The report names the oldest runtime that has them."""
    given = ("export", model, "--quantize", "int8", "--calibrate", photos, "--json", "--no-self-test")

    wide = run(*given, "--out", tmp_path / "a.tflite").json
    narrow = run(*given, "--weights", "int4", "--out", tmp_path / "b.tflite").json

    assert narrow["bytes"] < wide["bytes"]
    assert narrow["minimum_runtime"] == "2.11.0"


def test_16_bit_activations_from_the_shell(run, refused, model, photos, tmp_path):
    """The file says what it is, and other kinds of files, which have no such thing, are refused."""
    out, wide = tmp_path / "wide.tflite", ("--quantize", "int16x8", "--calibrate", photos)

    result = run("export", model, *wide, "--out", out)

    assert result.code == 0
    assert "(int16x8)" in result.out
    assert run("inspect", out).code == 0
    assert run("verify", out).code == 0
    assert "--quantize int16x8 is for .tflite files" in refused("export", model, *wide, "--out", tmp_path / "m.onnx")


def test_onnx_files_are_gated_from_the_command_line(run, refused, trained, photos, tmp_path):
    """The same options, table and refusal as for .tflite files; weights of 4 bits stay with those."""
    pytest.importorskip("onnxruntime")
    rescaled_model(trained).save(tmp_path / "hard.edge")
    given = ("export", tmp_path / "hard.edge", "--quantize", "int8", "--calibrate", photos, "--check", photos)

    climbed = run(*given, "--max-drop", "0", "--out", tmp_path / "a.onnx")
    rejected = run(*given, "--max-drop", "0.5", "--rungs", "calibration", "--out", tmp_path / "b.onnx")

    assert climbed.code == 0
    assert "what was tried" in climbed.out
    assert "edge: equalization …" in climbed.err
    assert rejected.code == 2
    assert re.search(
        r"edge: .* loses \d+\.\d+ points of accuracy on 36 photos, more than the 0.5 allowed", rejected.err
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.onnx", "a.onnx.json", "b.rejected.onnx", "b.rejected.onnx.json", "hard.edge"]
    assert "--weights is no option of .onnx files" in refused(*given, "--weights", "int4", "--out", tmp_path / "c.onnx")


@pytest.mark.coreml
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_palettes_from_the_shell(run, model, photos, tmp_path):
    """The package is there, and the table has the accuracy of the numbers in it."""
    pytest.importorskip("coremltools")
    out = tmp_path / "m.mlpackage"

    result = run("export", model, "--quantize", "palette6", "--check", photos, "--out", out)

    assert result.code == 0
    assert (out / "Manifest.json").is_file()
    assert "agreement of its numbers, 36 photos" in result.out
    assert "accuracy of its numbers" in result.out
