"""Folders of photos: what is found, in which order, and what is said about a folder that cannot be trained on."""

from __future__ import annotations

import os
import sys
import unicodedata

import numpy as np
import pytest

from edge_sdk.data import ImageFolder
from edge_sdk.errors import DataError


def test_classes_are_sorted_sub_folders(make_folder):
    """Labels are the folders' names by code point, samples lie in label order, each sorted."""
    root = make_folder({"dog": 2, "Cat": 1, "ant/big": 1, "ant/small": 1})

    folder = ImageFolder.scan(root)

    assert folder.labels == ("Cat", "ant", "dog")
    assert folder.train.samples == (
        ("Cat/000.png", 0),
        ("ant/big/000.png", 1),
        ("ant/small/000.png", 1),
        ("dog/000.png", 2),
        ("dog/001.png", 2),
    )
    assert folder.validation is None
    assert folder.evaluation is folder.train
    assert [folder.train.label(index) for index in range(len(folder.train))] == [0, 1, 1, 2, 2]
    assert folder.train.photo(3).size == (40, 30)
    assert folder.warnings == (f"{root}: only one photo of 'Cat'; it can be trained on or validated with, not both",)


def test_hidden_files_and_left_overs_are_ignored(make_folder):
    """What a desktop leaves behind is no photo and no class; other files are counted by extension."""
    root = make_folder({"a": 2, "b": 2, ".thumbnails": 1, "__MACOSX": 1})
    (root / "a" / ".DS_Store").write_bytes(b"x")
    (root / "a" / "notes.txt").write_text("x")
    (root / "b" / "IMG_1.HEIC").write_bytes(b"x")
    (root / "loose.png").write_bytes((root / "a" / "000.png").read_bytes())

    folder = ImageFolder.scan(root)

    assert folder.labels == ("a", "b")
    assert len(folder.train) == 4
    assert folder.warnings == (
        f"{root}: 1 photos that lie in no class folder are ignored",
        f"{root}: 1 files with the extension .heic are ignored; convert them to JPEG",
        f"{root}: 1 files with the extension .txt are ignored",
    )


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "Validation"), ("training", "valid")])
def test_explicit_division(names, make_folder):
    """train/ and val/ under their usual names; labels come from train/, and test/ is left alone."""
    training, validation = names
    root = make_folder(
        {f"{training}/a": 3, f"{training}/b": 2, f"{validation}/b": 1, f"{validation}/a": 2, "test/a": 1, "other/c": 1}
    )

    folder = ImageFolder.scan(root)

    assert folder.labels == ("a", "b")
    assert (len(folder.train), len(folder.evaluation)) == (5, 3)
    assert folder.split(validation=0.5) == (folder.train, folder.validation)
    assert [folder.validation.label(index) for index in range(3)] == [0, 0, 1]
    assert folder.validation.name(2) == f"{validation}/b/000.png"
    assert folder.warnings == (f"{root / 'other'}: ignored, since it stands beside {training}/ and {validation}/",)


def test_test_folder_stands_in_for_validation(make_folder):
    """Without val/ the test photos are used, and that is said."""
    folder = ImageFolder.scan(make_folder({"train/a": 3, "train/b": 2, "test/a": 1, "test/b": 1}))

    assert len(folder.validation) == 2
    assert "used for validation" in folder.warnings[0]


def test_lone_train_folder_is_split(make_folder):
    """train/ alone holds the classes; it is not a class."""
    folder = ImageFolder.scan(make_folder({"train/a": 4, "train/b": 4}))

    assert folder.labels == ("a", "b")
    assert [len(part) for part in folder.split(validation=0.25)] == [6, 2]


def test_train_may_be_a_class(make_folder):
    """A railway photographer's folders are classes: train/ holds photos there, not classes."""
    assert ImageFolder.scan(make_folder({"train": 2, "bus": 2})).labels == ("bus", "train")
    assert ImageFolder.scan(make_folder({"train/steam": 2, "tram": 2})).labels == ("bus", "train", "tram")


def test_labels_of_a_model_decide_the_order(make_folder):
    """With given labels the indices are theirs, absent classes are only mentioned."""
    root = make_folder({"b": 2, "a": 1})

    folder = ImageFolder.scan(root, labels=("b", "c", "a"))

    assert folder.labels == ("b", "c", "a")
    assert {folder.train.name(index): folder.train.label(index) for index in range(3)} == {
        "a/000.png": 2,
        "b/000.png": 0,
        "b/001.png": 0,
    }
    assert folder.warnings == (f"{root}: no photo of 'c', which the model knows",)


def test_evaluation_of_one_class_is_possible(make_folder):
    """A single class is an error only where the folder has to define the classes."""
    folder = ImageFolder.scan(make_folder({"a": 1}), labels=("a", "b"))

    assert len(folder.train) == 1


@pytest.mark.parametrize(
    ("counts", "labels", "message"),
    [
        ({"a": 3, "b": 0}, None, "no photo in the class folder 'b'"),
        ({"a": 3}, None, "a single class, 'a'"),
        ({"a": 0, "b": 0}, None, "no photo in it"),
        ({".": 0}, None, "no photo in it"),
        ({".": 2}, None, "2 photos lie directly in it; put them into one sub-folder per class"),
        ({"cat": 1, "dgo": 1}, ("cat", "dog"), r"photos of 'dgo', a class that the model does not have .*'dog'\?"),
        (
            {"train/a": 1, "train/b": 1, "val/aa": 1},
            None,
            "photos of 'aa', a class that the training folder does not have",
        ),
        ({"train/a": 1, "train/b": 1, "val/A": 1}, None, "'A', a class that the training folder does not have"),
        ({"train/a": 1, "train/b": 0, "val/b": 1}, None, "no photo in the class folder 'b'"),
        ({"train/a": 1, "train/b": 1, "val/a": 0}, None, "val: no photo in it"),
        ({"train/a": 1, "train/b": 1, "val/a": 1, "valid/a": 1}, None, "val and valid both look like the validation"),
    ],
)
def test_folder_that_cannot_work_is_refused(counts, labels, message, make_folder):
    """Each is an error before training, with the folder's name and what to do."""
    root = make_folder(counts)

    with pytest.raises(DataError, match=message) as caught:
        ImageFolder.scan(root, labels)

    assert str(root) in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that tells these names apart")
@pytest.mark.parametrize(
    "names", [("Cat", "cat"), ("STRASSE", "straße"), ("café", unicodedata.normalize("NFD", "café"))]
)
def test_folders_that_differ_only_in_case_are_refused(names, make_folder):
    """They would be one class on another system."""
    with pytest.raises(DataError, match="differ only in case"):
        ImageFolder.scan(make_folder(dict.fromkeys((*names, "dog"), 1)))


@pytest.mark.skipif(sys.platform != "linux", reason="macOS composes names itself")
def test_decomposed_names_give_composed_labels(make_folder):
    """A folder from a Mac and its copy elsewhere have the same labels, names and split; the files are found."""
    folder = ImageFolder.scan(make_folder({unicodedata.normalize("NFD", "café"): 2, "tea": 2}))

    assert folder.labels == ("café", "tea")
    assert folder.train.name(0) == "café/000.png"
    assert folder.train.photo(0).size == (40, 30)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf8_are_text(make_folder):
    """Photos of an old disk train like others: their names can be hashed, split, printed and written into a file."""
    root, old = make_folder({"a": 4, "b": 4}), os.fsdecode(b"\xe9")
    for photo in root.glob("*/*.png"):
        photo.rename(photo.with_name(photo.name.replace("00", old)))
    (root / "b").rename(root / f"caf{old}")
    (root / f"caf{old}" / f"{old}2.png").write_bytes(b"no photo")

    folder = ImageFolder.scan(root)
    training, held_out = folder.split(0.25)

    assert folder.labels == ("a", "caf\\udce9")
    assert folder.train.name(0) == "a/\\udce90.png"
    assert (len(training), len(held_out), len(folder.train.fingerprint())) == (6, 2, 64)
    assert folder.train.photo(5).size == (40, 30)
    with pytest.raises(DataError) as caught:
        folder.train.photo(6)
    assert str(caught.value).encode("utf-8").endswith(b"corrupt")


def test_class_absent_from_validation_is_mentioned(make_folder):
    """Training can go on, but nothing is measured for that class."""
    folder = ImageFolder.scan(make_folder({"train/a": 2, "train/b": 2, "val/a": 1}))

    assert len(folder.warnings) == 1
    assert "no photo of 'b', so its accuracy cannot be measured" in folder.warnings[0]


def test_missing_path_gets_a_suggestion(make_folder):
    """A typo in the folder's name is the usual reason."""
    root = make_folder({"a": 1, "b": 1})

    with pytest.raises(DataError, match="no such folder; did you mean 'photos'"):
        ImageFolder.scan(root.with_name("photo"))
    with pytest.raises(DataError, match="found a file"):
        ImageFolder.scan(root / "a" / "000.png")
    with pytest.raises(DataError, match="no such folder"):
        ImageFolder.scan(root / "far" / "away")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_link_to_a_folder_above_ends(make_folder):
    """A link that leads back up is not followed for ever; one that leads elsewhere is followed."""
    root = make_folder({"a": 2, "b": 2})
    (root / "a" / "loop").symlink_to(root, target_is_directory=True)
    (root / "b" / "more").symlink_to(root / "a", target_is_directory=True)
    (root / "b" / "broken.png").symlink_to(root / "nowhere.png")

    folder = ImageFolder.scan(root)

    names = [folder.train.name(index) for index in range(len(folder.train))]
    assert "b/more/000.png" in names
    assert "b/broken.png" not in names
    assert len(names) < 50


def test_unlabelled_photos_for_calibration(make_folder):
    """Any folder of photos will do, flat or not."""
    root = make_folder({".": 2, "deep/er": 1})

    photos = ImageFolder.unlabelled(root)

    assert [photos.name(index) for index in range(3)] == ["000.png", "001.png", "deep/er/000.png"]
    assert photos.label(0) == -1
    with pytest.raises(DataError, match="no such folder"):
        ImageFolder.unlabelled(root / "gone")
    with pytest.raises(DataError, match="found a file"):
        ImageFolder.unlabelled(root / "000.png")
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="no photo in it"):
        ImageFolder.unlabelled(root / "empty")


def test_fingerprint_sees_what_matters(make_folder):
    """Another name, size or label changes the hash; another place does not; contents only on request."""
    root = make_folder({"a": 2, "b": 2})
    in_first_place = ImageFolder.scan(root).train.fingerprint()
    moved = ImageFolder.scan(root.rename(root.with_name("elsewhere"))).train

    before, full = moved.fingerprint(), moved.fingerprint(contents=True)
    assert before == in_first_place
    assert full != before
    data = bytearray(moved.path(0).read_bytes())
    data[-20] ^= 1
    moved.path(0).write_bytes(data)
    assert moved.fingerprint() == before
    assert moved.fingerprint(contents=True) != full
    moved.path(0).write_bytes(data + b"x")
    assert moved.fingerprint() != before
    assert moved.select([0, 1]).fingerprint() != before


def test_selection_keeps_order_and_labels(make_folder):
    """A part of a dataset is a dataset."""
    dataset = ImageFolder.scan(make_folder({"a": 2, "b": 2})).train

    part = dataset.select([3, 0])

    assert [part.name(0), part.name(1)] == ["b/001.png", "a/000.png"]
    assert part.labels == dataset.labels
    np.testing.assert_array_equal(np.asarray(part.photo(0)), np.asarray(dataset.photo(3)))
