"""Data sets whose classes are in another order than the model's: known by their names, or refused with both orders."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import LABELS, tiny_model

import edge_sdk as edge
from edge_sdk.compression.fine_tuning import fine_tune
from edge_sdk.compression.prune import labelled_photos
from edge_sdk.data.class_names import training_photos, under_labels
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.folder import ImageFolder
from edge_sdk.data.source import open_photos
from edge_sdk.errors import DataError
from edge_sdk.model import Model
from edge_sdk.quantization.candidate import observe, prepare
from edge_sdk.quantization.quantization_aware import train_candidate

COLOURS = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250)}


def colours(labels: tuple[str, ...], count: int = 36, classes: tuple[str, ...] = LABELS) -> ArrayDataset:
    """Photos of the colours in turn, under labels in some order."""
    chosen = [classes[index % len(classes)] for index in range(count)]
    noise = np.random.default_rng(0).integers(0, 6, (count, 16, 16, 3))
    photos = np.uint8([noise[index] + COLOURS[label] for index, label in enumerate(chosen)])
    return ArrayDataset.of(photos, [labels.index(label) for label in chosen], labels)


@pytest.fixture(scope="module")
def trained() -> Model:
    """A model that tells blue, green and red apart, in this order."""
    return edge.fit(tiny_model(), colours(LABELS), epochs=6, batch_size=6, learning_rate=0.05, seed=3).model


def test_a_class_is_known_by_its_name():
    """Labels become indices into the model's; photos and names stay, in parts of the data set too."""
    data = ArrayDataset.of(np.zeros((4, 2, 2, 3), np.uint8), [0, 1, 2, -1], ("red", "blue", "green"), list("abcd"))

    mapped = under_labels(data, LABELS)

    assert mapped.labels == LABELS == ("blue", "green", "red")
    assert [mapped.label(index) for index in range(4)] == [2, 0, 1, -1]
    part = mapped.select([3, 0])
    assert [(part.label(index), part.name(index)) for index in range(len(part))] == [(-1, "d"), (2, "a")]
    assert mapped.photo(0).size == (2, 2)
    assert mapped.fingerprint() not in (data.fingerprint(), part.fingerprint())


def test_the_same_order_needs_nothing():
    """The data set itself is handed back."""
    data = colours(LABELS)

    assert under_labels(data, LABELS) is data


def test_only_classes_with_photos_count():
    """A class without photos may be unknown; so may all where no photo has a label; some of the model's are enough."""
    photos = np.zeros((2, 2, 2, 3), np.uint8)

    some = under_labels(ArrayDataset.of(photos, [1, 1], ("crimson", "red")), LABELS)
    none = under_labels(ArrayDataset.of(photos, [-1, -1], ("crimson",)), LABELS)

    assert [some.label(index) for index in range(2)] == [2, 2]
    assert [none.label(index) for index in range(2)] == [-1, -1]
    assert some.labels == none.labels == LABELS


def test_numbers_are_no_names():
    """A model whose classes nobody has named takes them in the data's order."""
    data = colours(("red", "green", "blue"))

    mapped = under_labels(data, ("0", "1", "2"))

    assert [mapped.label(index) for index in range(36)] == list(data.indices)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS, r"classes are red, gren, the model's blue, green, red: 'gren' is none of those; did you mean 'green'"),
        (("gren", "red", "red"), "'red' is more than one of those"),
    ],
)
def test_other_classes_are_refused(labels, message):
    """Both orders are named, with the closest name and the next step."""
    data = ArrayDataset.of(np.zeros((2, 2, 2, 3), np.uint8), [0, 1], ("red", "gren"))

    with pytest.raises(DataError, match=message + r".*name the classes as the model does, or give the photos without"):
        open_photos(data, labels)


def test_a_model_is_measured_by_names(trained):
    """Accuracies do not depend on the order in which a data set has its classes."""
    turned = colours(("red", "blue", "green"))

    assert edge.evaluate(trained, turned).top1 == edge.evaluate(trained, colours(LABELS)).top1 == 1


def test_an_export_takes_any_order(trained, tmp_path):
    """Photos to calibrate on, to check with and to train on in another order give the same file; others are refused."""
    arguments = {"quantize": "int8", "max_drop": 50.0, "rungs": ("training",)}
    right, turned = colours(LABELS), colours(("green", "red", "blue"))
    foreign = ArrayDataset.of(right.photos, right.indices, ("a", "b", "c"))

    one = edge.export(trained, tmp_path / "a.tflite", calibrate=right, check=right, train=right, **arguments)
    other = edge.export(trained, tmp_path / "b.tflite", calibrate=turned, check=turned, train=turned, **arguments)

    assert (one.file_accuracy, one.findings) == (other.file_accuracy, other.findings) == (1, ())
    for wrong in ("calibrate", "check", "train"):
        photos = {"calibrate": right, "check": right, "train": right, wrong: foreign}
        with pytest.raises(DataError, match=r"classes are a, b, c, the model's blue, green, red"):
            edge.export(trained, tmp_path / "c.tflite", **photos, **arguments)
    assert not (tmp_path / "c.tflite").exists()


def test_training_does_not_change_the_order(trained):
    """Pruned and 8-bit networks learn the model's order, whatever the data's, and are validated in it."""
    turned = colours(("red", "blue", "green"))
    settings = {"epochs": 1, "batch_size": 6, "learning_rate": 1e-4, "validation": 0.0}
    candidate = observe(prepare(trained), [trained.preprocess.normalise(turned.photos)])

    pruned = edge.prune_channels(trained, 0.9, data=turned, multiple=1)
    runs = [
        fine_tune(pruned, trained, turned, turned, **settings),
        train_candidate(candidate, trained, turned, turned, **settings).run,
    ]

    assert [run.model.labels for run in runs] == [LABELS, LABELS]
    assert [run.history[0].validation_accuracy for run in runs] == [1, 1]
    assert labelled_photos(trained, turned).label(0) == 0  # blue


def test_folders_are_read_in_the_order_of_the_model(tmp_path, make_folder):
    """A model that learned from a data set may have its classes in no alphabet's order."""
    folder = make_folder({"train/a": 3, "train/b": 3, "val/a": 1, "val/b": 1})

    training, validation = training_photos(folder, None, ("b", "a"))

    assert training.labels == validation.labels == ("b", "a")
    assert [training.label(index) for index in range(6)] == [1, 1, 1, 0, 0, 0]
    assert training_photos(folder, None, ("b", "a"), hold_out=False)[1] is None
    assert training_photos(folder, None, ("0", "1")) == (folder, None)


def test_validation_photos_are_known_by_name():
    """`fit` is told of training photos in one order and of others in another one."""
    run = edge.fit(
        tiny_model(), colours(LABELS), colours(("red", "blue", "green")), epochs=6, batch_size=6, learning_rate=0.05,
        seed=3,
    )  # fmt: skip

    assert max(metrics.validation_accuracy for metrics in run.history) == 1


def test_a_scanned_folder_keeps_its_classes(make_folder):
    """What a folder is read under is the model's already."""
    photos = ImageFolder.scan(make_folder({"a": 2, "b": 2}), labels=("b", "a")).train

    assert under_labels(photos, ("b", "a")) is photos
