"""`edge compare` runs two models on the same photos."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import edge_sdk as edge
from edge_sdk.errors import DataError
from edge_sdk.opening import open_model


class Fixed:
    """Answers that are given beforehand, one a photo, whatever the photo is."""

    def __init__(self, like, labels, answers):
        self.preprocess, self.labels, self.answers, self.seen = like.preprocess, labels, answers, 0

    def run(self, x):
        chosen = self.answers[self.seen : self.seen + len(x)]
        self.seen += len(x)
        return np.float32([[float(label == answer) for label in self.labels] for answer in chosen])


IMAGES = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1).repeat(16, 1).repeat(16, 2).repeat(3, 3)


def test_disagreements_are_named_with_both_answers(trained):
    """By hand: four photos, one answered differently, and the largest and the mean difference of scores."""
    first = Fixed(trained, ("a", "b", "c"), ["a", "b", "c", "a"])
    second = Fixed(trained, ("a", "b", "c"), ["a", "b", "b", "a"])

    found = edge.compare(first, second, IMAGES, batch_size=3)

    assert found.agreement == 0.75
    assert not found.has_labels
    assert found.to_dict()["accuracy"] == [None, None]
    assert [(d.photo, d.first, d.second, d.label) for d in found.disagreements] == [("2", "c", "b", None)]
    assert found.largest_difference == 1
    assert found.mean_difference == pytest.approx(2 / 12)


def test_classes_may_lie_in_another_order(trained):
    """The second model's outputs are put into the order of the first; a file without names gets the first one's."""
    first = Fixed(trained, ("a", "b", "c"), ["a", "b", "c", "a"])
    turned = Fixed(trained, ("c", "a", "b"), ["a", "b", "c", "a"])
    nameless = Fixed(trained, ("0", "1", "2"), ["0", "1", "2", "0"])

    assert edge.compare(first, turned, IMAGES).largest_difference == 0
    first.seen = 0
    assert edge.compare(first, nameless, IMAGES).agreement == 1


def test_models_of_other_classes_are_refused(trained):
    """With what only one of them has."""
    first, second = (Fixed(trained, labels, []) for labels in (("a", "b"), ("a", "x")))

    with pytest.raises(DataError, match=r"only the first has \['b'\], only the second \['x'\]"):
        edge.compare(first, second, IMAGES)


def test_a_model_and_its_file_are_compared(run, trained, model, tflite, photos):
    """Accuracies are those of `edge eval`, agreement and differences those of the scores photo by photo."""
    facts = run("compare", model, tflite, photos, "--json").json

    paths = sorted(photos.rglob("*.png"))
    scores = [
        np.concatenate([m.run(m.preprocess(path)[np.newaxis]) for path in paths]) for m in (trained, open_model(tflite))
    ]
    assert facts["photos"] == len(paths) == 36
    assert facts["agreement"] == np.mean(scores[0].argmax(1) == scores[1].argmax(1))
    assert facts["largest_difference"] == pytest.approx(np.abs(scores[0] - scores[1]).max(), rel=1e-5)
    assert facts["accuracy"] == [edge.evaluate(path, photos).top1 for path in (model, tflite)]
    assert set(facts["per_class"]) == {"blue", "green", "red"}


def test_photos_without_labels_are_enough(run, model, tflite, photos, tmp_path):
    """A folder of photos in no class folders: everything but accuracies; one that is damaged is named."""
    for index, path in enumerate(sorted(photos.rglob("*.png"))[::3]):
        shutil.copy(path, tmp_path / f"{index}.png")
    (tmp_path / "3.png").write_bytes(b"not a photo")

    facts = run("compare", model, tflite, tmp_path, "--json").json

    assert (facts["photos"], facts["accuracy"], facts["per_class"]) == (11, [None, None], {})
    assert len(facts["unreadable"]) == 1


def test_tables_are_printed(run, model, tflite, photos, tmp_path):
    """Agreement for people; where classes changed and photos differ, tables of those."""
    other = tmp_path / "other.edge"
    edge.load(model).with_labels(("blue", "green", "red"), seed=5).save(other)

    same, different = run("compare", model, tflite, photos), run("compare", model, other, photos)

    assert "36 photos" in same.out
    assert "agreement" in same.out
    assert "photos with different answers" in different.out
    assert "classes that changed" in different.out
    assert same.code == different.code == 0
