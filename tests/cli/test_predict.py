"""`edge predict` ranks labels as `Model.predict` does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tiny_models import tiny_model

import edge_sdk as edge


def test_json_is_the_ranking_of_the_model(run, trained, model, photos):
    """Each photo has its labels with their scores, best first."""
    red, blue = photos / "red" / "0.png", photos / "blue" / "1.png"
    expected = {str(p): [{"label": n, "score": s} for n, s in trained.predict(p)] for p in (red, blue)}

    printed = run("predict", model, red, blue, "--json").json

    assert printed == expected
    assert [printed[str(p)][0]["label"] for p in (red, blue)] == ["red", "blue"]
    assert sum(entry["score"] for entry in printed[str(red)]) == pytest.approx(1, abs=1e-5)


def test_an_exported_file_says_the_same(run, model, tflite, photos):
    """The int8 file's labels are in the file; its scores are near those of the model."""
    paths = [photos / label / "2.png" for label in ("blue", "green", "red")]

    ours, theirs = (run("predict", file, *paths, "--json").json for file in (model, tflite))

    for path in map(str, paths):
        scores = {entry["label"]: entry["score"] for entry in ours[path]}
        assert theirs[path][0]["label"] == ours[path][0]["label"]
        assert {entry["label"]: entry["score"] for entry in theirs[path]} == pytest.approx(scores, abs=0.05)


def test_the_table_has_a_title_a_photo_and_a_row_a_label(run, trained, model, photos):
    """A person sees the file's name, the labels and percentages."""
    photo = photos / "green" / "0.png"
    expected = [[label, f"{100 * score:.2f} %"] for label, score in trained.predict(photo)]

    result = run("predict", model, photo)

    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.out.splitlines() if "│" in line]
    assert result.code == 0
    assert "0.png" in result.out.split("label")[0]
    assert rows == expected


@pytest.mark.parametrize(("top", "shown"), [(1, 1), (2, 2), (99, 3)])
def test_top_limits_the_labels(run, model, photos, top, shown):
    """No more labels than asked for, and no more than there are."""
    photo = photos / "red" / "0.png"

    assert len(run("predict", model, photo, "--top", top, "--json").json[str(photo)]) == shown


def test_a_photo_without_an_ending_or_with_odd_names_is_read(run, model, photos, tmp_path):
    """The content decides what a file is; spaces, accents and brackets in names are nothing special."""
    names = ("no-ending", "a photo.png", "café [1].png", "-dash.png")
    for name in names:
        (tmp_path / name).write_bytes((photos / "red" / "0.png").read_bytes())

    printed = run("predict", model, *(tmp_path / name for name in names), "--json").json

    assert [ranking[0]["label"] for ranking in printed.values()] == ["red"] * 4
    assert list(printed) == [str(tmp_path / name) for name in names]


def test_a_run_folder_is_a_model(run, trained, photos, tmp_path):
    """The folder of a run stands for its best model."""
    edge.Model.save(trained, tmp_path / "best.edge")
    photo = photos / "blue" / "0.png"

    assert run("predict", tmp_path, photo, "--top", 1, "--json").json[str(photo)][0]["label"] == "blue"


def test_one_bad_photo_leaves_the_others(run, model, photos, tmp_path):
    """It is named on stderr; the others are classified, and the exit code says that not all were."""
    good, bad = photos / "red" / "0.png", tmp_path / "text.png"
    bad.write_text("I am no photo")

    result = run("predict", model, bad, good, "--json")

    assert result.code == 2
    assert list(result.json) == [str(good)]
    assert result.err.startswith(f"edge: {bad}: ")


def test_logits_that_look_like_probabilities_are_none(run, photos, tmp_path):
    """Two logits of 0.4 and 0.6 add up to one, yet their probabilities are e^0.4 and e^0.6 over the sum of both.

    A model's scores are logits, and an exported file's contract says what they are.
    """
    model = tiny_model(classes=2)
    model.workspace["head.weight"] = np.zeros_like(model.workspace["head.weight"])
    model.workspace["head.bias"] = np.array([0.4, 0.6], np.float32)
    model.save(tmp_path / "model.edge")
    edge.export(model, tmp_path / "logits.tflite")
    edge.export(model, tmp_path / "probabilities.tflite", output="probabilities")
    photo = photos / "red" / "0.png"

    for name in ("model.edge", "logits.tflite", "probabilities.tflite"):
        best = run("predict", tmp_path / name, photo, "--json").json[str(photo)][0]
        assert best["score"] == pytest.approx(math.exp(0.6) / (math.exp(0.4) + math.exp(0.6)), abs=1e-5), name
