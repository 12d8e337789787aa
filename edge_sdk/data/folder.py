"""Image folders: the name of a photo's sub-folder is its class. What is wrong with one is said before training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from edge_sdk.data.images import decode, name_as_text
from edge_sdk.data.split import split_dataset
from edge_sdk.data.walk import content_hash, file_size, photos_below, photos_in, visible_folders
from edge_sdk.errors import DataError, suggestion

TRAINING_FOLDERS = ("train", "training")
VALIDATION_FOLDERS = ("val", "valid", "validation")
TEST_FOLDERS = ("test", "testing")


@dataclass(frozen=True)
class FolderDataset:
    """Photos on disk: `samples` pairs each photo's path relative to `root` (with "/") with an index into `labels`."""

    root: Path
    labels: tuple[str, ...]
    samples: tuple[tuple[str, int], ...]

    def __len__(self) -> int:
        return len(self.samples)

    def path(self, index: int) -> Path:
        """Return where photo `index` lies."""
        return self.root / self.samples[index][0]

    def photo(self, index: int, shortest: int | None = None) -> Image.Image:
        """Return photo `index`, upright and RGB; raises DataError that names the file if it cannot be read."""
        return decode(self.path(index), shortest)

    def label(self, index: int) -> int:
        """Return the label of photo `index`, or -1 where the folder has no classes."""
        return self.samples[index][1]

    def name(self, index: int) -> str:
        """Return the path relative to the root, with "/" and composed accents on every system (`name_as_text`)."""
        return name_as_text(self.samples[index][0])

    def select(self, indices: Sequence[int]) -> FolderDataset:
        """Return the dataset of these photos, in this order, with the same labels."""
        return replace(self, samples=tuple(self.samples[index] for index in indices))

    def fingerprint(self, contents: bool = False) -> str:
        """Return the SHA-256 of labels and of every photo's name, label and size; with `contents`, of its bytes too."""
        digest = hashlib.sha256(repr(self.labels).encode())
        for index in range(len(self)):
            digest.update(f"\n{self.name(index)}\t{self.label(index)}\t{file_size(self.path(index))}".encode())
            if contents:
                digest.update(content_hash(self.path(index)))
        return digest.hexdigest()


@dataclass(frozen=True)
class ImageFolder:
    """A checked folder of labelled photos: `train`, `validation` where the folder itself is divided, and `warnings`."""

    train: FolderDataset
    validation: FolderDataset | None
    warnings: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes: those asked for, or the names of the sub-folders in the order of their code points."""
        return self.train.labels

    @property
    def evaluation(self) -> FolderDataset:
        """The photos to measure a model on: the validation folder where there is one, otherwise all."""
        return self.train if self.validation is None else self.validation

    @classmethod
    def scan(cls, path: Path | str, labels: Sequence[str] | None = None) -> ImageFolder:
        """Find the photos under `path`, in a sub-folder per class or in train/ and val/ (valid/, validation/) of such.

        A test/ folder beside train/ and val/ is left alone; without val/ it takes its place. Hidden files are
        ignored. With `labels` (those of a model) the photos take its order, and classes may be absent. Without, the
        folder defines the classes and must be fit to train on. What cannot work raises DataError: no folder, no
        photo, an empty or a single class, class names that differ only in case, classes that are not in `labels`, a
        validation class with no training photo. What merely deserves attention stands in `warnings`.
        """
        root = Path(path)
        if not root.exists():
            beside = [folder.name for folder in visible_folders(root.parent)] if root.parent.is_dir() else []
            raise DataError(f"{root}: no such folder{suggestion(root.name, beside)}")
        if not root.is_dir():
            raise DataError(f"{root}: wanted a folder with one sub-folder of photos per class, found a file")
        warnings: list[str] = []
        training_root, validation_root = _divided(root, warnings)
        training = _classes(training_root, warnings)
        chosen = _chosen_labels(training_root, training, labels, warnings)
        train = _dataset(root, chosen, training)
        if validation_root is None:
            return cls(train, None, tuple(warnings))
        held_out = _classes(validation_root, warnings)
        _check_known(validation_root, held_out, chosen, "the training folder" if labels is None else "the model")
        warnings += [
            f"{validation_root}: no photo of {label!r}, so its accuracy cannot be measured"
            for label in chosen
            if not held_out.get(label)
        ]
        validation = _dataset(root, chosen, held_out)
        if not len(validation):
            raise DataError(
                f"{validation_root}: no photo in it; add some, or remove the folder to have a part held out"
            )
        return cls(train, validation, tuple(warnings))

    @classmethod
    def unlabelled(cls, path: Path | str) -> FolderDataset:
        """Return every photo under `path`, with or without sub-folders, without classes (label -1): for calibration."""
        root = Path(path)
        if not root.is_dir():
            raise DataError(
                f"{root}: {'wanted a folder of photos, found a file' if root.exists() else 'no such folder'}"
            )
        samples = tuple((photo.relative_to(root).as_posix(), -1) for photo in photos_below(root, Counter()))
        if not samples:
            raise DataError(f"{root}: no photo in it")
        return FolderDataset(root, (), samples)

    def split(
        self, validation: float = 0.2, seed: int = 0, group: Callable[[str], str] | None = None
    ) -> tuple[FolderDataset, FolderDataset]:
        """Return (training, validation): the folder's own division, or else a deterministic stratified split.

        See `edge_sdk.data.split.stratified_split` for `validation`, `seed` and `group`.
        """
        if self.validation is not None:
            return self.train, self.validation
        return split_dataset(self.train, validation, seed, group)


def _divided(root: Path, warnings: list[str]) -> tuple[Path, Path | None]:
    """Return the training folder and, if `root` is divided, the validation folder."""
    folders = visible_folders(root)
    training = [folder for folder in folders if folder.name.lower() in TRAINING_FOLDERS and visible_folders(folder)]
    validation = [folder for folder in folders if folder.name.lower() in VALIDATION_FOLDERS]
    test = [folder for folder in folders if folder.name.lower() in TEST_FOLDERS]
    others = [folder for folder in folders if folder not in training + validation + test]
    if not training or (others and not validation):
        return root, None
    for found, wanted in ((training, "training"), (validation, "validation")):
        if len(found) > 1:
            raise DataError(
                f"{root}: {' and '.join(folder.name for folder in found)} both look like the {wanted} photos; keep one"
            )
    warnings += [
        f"{folder}: ignored, since it stands beside {training[0].name}/ and {validation[0].name}/" for folder in others
    ]
    if validation:
        return training[0], validation[0]
    if test:
        warnings.append(f"{test[0]}: used for validation, since there is no val/ folder")
        return training[0], test[0]
    return training[0], None


def _classes(root: Path, warnings: list[str]) -> dict[str, list[Path]]:
    """Return the photos of each class folder of `root`, by label; both sorted."""
    classes: dict[str, list[Path]] = {}
    ignored: Counter[str] = Counter()
    folded: dict[str, str] = {}
    for folder in visible_folders(root):
        label = name_as_text(folder.name)
        other = folded.setdefault(label.casefold(), folder.name)
        if other != folder.name:
            raise DataError(
                f"{root}: the folders {other!r} and {folder.name!r} differ only in case or in the coding of accents; "
                "give them one name, or two clearly different ones"
            )
        classes[label] = photos_below(folder, ignored)
    loose = len(photos_in(root, Counter()))
    if loose and not classes:
        raise DataError(f"{root}: {loose} photos lie directly in it; put them into one sub-folder per class")
    if loose:
        warnings.append(f"{root}: {loose} photos that lie in no class folder are ignored")
    for extension, count in sorted(ignored.items()):
        hint = "; convert them to JPEG" if extension in (".heic", ".heif") else ""
        warnings.append(f"{root}: {count} files with the extension {extension or '(none)'} are ignored{hint}")
    return dict(sorted(classes.items()))


def _chosen_labels(
    root: Path, classes: dict[str, list[Path]], labels: Sequence[str] | None, warnings: list[str]
) -> tuple[str, ...]:
    if not any(classes.values()):
        raise DataError(f"{root}: no photo in it; wanted one sub-folder of photos per class")
    if labels is not None:
        _check_known(root, classes, labels, "the model")
        warnings += [
            f"{root}: no photo of {label!r}, which the model knows" for label in labels if not classes.get(label)
        ]
        return tuple(labels)
    empty = [label for label, photos in classes.items() if not photos]
    if empty:
        listed = ", ".join(repr(label) for label in empty)
        raise DataError(f"{root}: no photo in the class folder {listed}; add photos, or remove the folder")
    if len(classes) == 1:
        (only,) = classes
        raise DataError(f"{root}: a single class, {only!r}; training needs two or more sub-folders of photos")
    for label, photos in classes.items():
        if len(photos) == 1:
            warnings.append(f"{root}: only one photo of {label!r}; it can be trained on or validated with, not both")
    return tuple(classes)


def _check_known(root: Path, classes: dict[str, list[Path]], labels: Sequence[str], owner: str) -> None:
    unknown = [label for label, photos in classes.items() if photos and label not in labels]
    if unknown:
        shown = ", ".join(labels[:8]) + (", …" if len(labels) > 8 else "")
        raise DataError(
            f"{root}: photos of {unknown[0]!r}, a class that {owner} does not have "
            f"({len(labels)} classes: {shown}){suggestion(unknown[0], labels)}"
        )


def _dataset(root: Path, labels: tuple[str, ...], classes: dict[str, list[Path]]) -> FolderDataset:
    index = {label: position for position, label in enumerate(labels)}
    samples = [
        (photo.relative_to(root).as_posix(), index[label])
        for label, photos in classes.items()
        if label in index
        for photo in photos
    ]
    return FolderDataset(root, labels, tuple(samples))
