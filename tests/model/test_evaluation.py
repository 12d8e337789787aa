"""Accuracies, counted by hand; a model and its files measured alike."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.errors import DataError, FormatError
from edge_sdk.evaluation import Evaluation


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six photos of each of three colours."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos", 6)


@pytest.fixture(scope="module")
def files(tmp_path_factory, photos):
    """A trained model with its .edge and float .tflite files."""
    model = edge.fit(tiny_model(), photos, epochs=4, batch_size=6, learning_rate=0.05, seed=3).model
    folder = tmp_path_factory.mktemp("files")
    model.save(folder / "m.edge")
    edge.export(model, folder / "m.tflite")
    return model, folder / "m.edge", folder / "m.tflite"


def test_figures_of_hand_made_scores():
    """Six classes, four photos: two right, one among the five best, one the worst of all."""
    scores = np.array([
        [9, 1, 2, 3, 4, 5], [1, 9, 2, 3, 4, 5], [5, 9, 1, 2, 3, 4], [6, 5, 4, 3, 2, 1],
    ])  # fmt: skip
    evaluation = Evaluation(tuple("abcdef"), scores, np.array([0, 1, 0, 5]))

    assert (evaluation.count, evaluation.top1, evaluation.top5) == (4, 0.5, 0.75)
    assert [(c.correct, c.count, c.accuracy) for c in evaluation.per_class] == [
        (1, 2, 0.5), (1, 1, 1.0), (0, 0, 0.0), (0, 0, 0.0), (0, 0, 0.0), (0, 1, 0.0),
    ]  # fmt: skip
    assert evaluation.to_dict()["per_class"]["a"] == {"correct": 1, "count": 2}


def test_top5_of_few_classes_is_one():
    """Everything is among the five best of three."""
    evaluation = Evaluation(("a", "b", "c"), np.eye(3), np.array([2, 0, 1]))

    assert (evaluation.top1, evaluation.top5) == (0.0, 1.0)


def test_a_model_and_its_files_score_alike(files, photos):
    """As a Model, as .edge and, to rounding, as .tflite; the model has learnt something."""
    model, edge_file, tflite_file = files

    found = [edge.evaluate(which, photos) for which in (model, edge_file, tflite_file)]

    assert [f.top1 for f in found] == [found[0].top1] * 3
    assert found[0].top1 > 0.6
    np.testing.assert_array_equal(found[1].scores, found[0].scores)
    np.testing.assert_allclose(found[2].scores, found[0].scores, rtol=0, atol=1e-4 * np.abs(found[0].scores).max())


@pytest.mark.parametrize("batch_size", [1, 4, 7, 18, 100])
def test_the_batch_size_changes_nothing(files, photos, batch_size):
    """The last batch may be short; its padding is not counted."""
    model, _, _ = files
    counted: list[int] = []

    found = edge.evaluate(model, photos, batch_size, counted.append)

    assert sum(counted) == found.count == 18
    np.testing.assert_allclose(found.scores, edge.evaluate(model, photos).scores, rtol=1e-5, atol=1e-6)


def test_accuracy_is_that_of_predict(files, photos):
    """The best label of every photo, asked one by one."""
    model, _, _ = files
    right = [model.predict(path, top=1)[0][0] == path.parent.name for path in photos.rglob("*.png")]

    assert edge.evaluate(model, photos).top1 == pytest.approx(np.mean(right))


def test_a_folder_of_some_classes_is_enough(files, photos, tmp_path):
    """Labels go by name, not by position among the folders."""
    model, _, _ = files
    (tmp_path / "red").mkdir()
    for index in range(6):
        (tmp_path / "red" / f"{index}.png").write_bytes((photos / "red" / f"{index}.png").read_bytes())

    found, whole = edge.evaluate(model, tmp_path), edge.evaluate(model, photos)

    assert found.count == 6
    assert found.per_class[2] == whole.per_class[2]


def test_a_folder_of_another_class_is_named(files, photos, tmp_path):
    """It cannot be counted as right or wrong."""
    model, _, _ = files
    (tmp_path / "yellow").mkdir()
    (tmp_path / "yellow" / "0.png").write_bytes((photos / "red" / "0.png").read_bytes())

    with pytest.raises(DataError, match="yellow"):
        edge.evaluate(model, tmp_path)


def test_an_unreadable_photo_is_counted_out_and_named(files, photos, tmp_path):
    """The accuracy is that of the others."""
    model, _, _ = files
    (tmp_path / "red").mkdir()
    for index in range(12):
        (tmp_path / "red" / f"{index}.png").write_bytes((photos / "red" / f"{index % 6}.png").read_bytes())
    (tmp_path / "red" / "broken.png").write_bytes(b"no photo")

    found = edge.evaluate(model, tmp_path)

    assert found.count == 12
    assert ["broken.png" in name for name in found.unreadable] == [True]


def test_a_missing_model_is_named(photos, tmp_path):
    """With its path."""
    with pytest.raises(FormatError, match=r"nothing\.tflite"):
        edge.evaluate(tmp_path / "nothing.tflite", photos)
