"""Are these the right photos to calibrate on: what can be wrong with them, said before hours are lost."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_sdk.errors import DataError, suggestion
from edge_sdk.model import Model
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import Array

if TYPE_CHECKING:
    from PIL import Image

    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.source import PhotoSource

Kind = Literal[
    "unreadable", "too-few", "constant", "enlarged", "shape", "colour", "folder", "one-class", "confidence", "accuracy",
    "unlike-training",
]  # fmt: skip
FEW, HARDLY_ANY = 16, 2
"""Fewer different photos than the first leave ranges to chance; up to the second, they are those of single photos."""
MOST_ENLARGED = 2.0
"""From here on more than three of four pixels are invented."""
LONGEST_SHAPE = 4.0
"""Longer side to shorter one; beyond, a central square shows less than a quarter of the photo."""
GREY_TOLERANCE = 2.0
"""Mean difference between the channels of a photo that counts as grey, of 255: JPEG's own error."""
RARE = 0.1
"""What is true of a smaller share of the photos is not worth a line."""


JUDGED = 64
"""Photos that the model is asked about, which is what takes time."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with photos.

    Attributes:
        level: "error" where a calibration on them cannot be right, "warning" where it may not be.
        kind: What it is about.
        message: One line for the user: what was found, what is wanted.
    """

    level: Literal["error", "warning"]
    kind: Kind
    message: str


@dataclass(frozen=True)
class _Look:
    """What a photo looks like: its name, sides, whether it is grey or one colour, and a hash of its pixels."""

    name: str
    height: int
    width: int
    grey: bool
    constant: bool
    digest: bytes


def check_photos(model: Model, photos: PhotoSource, reference: PhotoSource | None = None) -> list[Finding]:
    """Return what is wrong with photos to calibrate a model on, errors first; nothing found is an empty list.

    At most 200 of them are looked at, taken evenly, and 64 of these run through the float model, whose answers are
    compared with what is known of its training (see `model_on_photos`). `reference` are photos that are known to be
    right, such as those that the finished file is measured on; then colours and the model's certainty are compared
    with those.

    Raises:
        DataError: there is no photo at all.
    """
    from edge_sdk.data.source import open_photos, spread
    from edge_sdk.quantization.calibration import CALIBRATION_PHOTOS
    from edge_sdk.quantization.model_on_photos import answers, judge

    dataset = spread(open_photos(photos, model.labels), CALIBRATION_PHOTOS)
    looks, images, labels = _look_at(dataset, model.preprocess)
    if not looks:
        return [Finding("error", "unreadable", f"none of the {len(dataset)} calibration photos can be read")]
    findings = [
        *_number(looks),
        *_constant(looks),
        *_sizes(looks, model.preprocess),
        *_folders(dataset, model.labels),
    ]
    known: list[_Look] | None = None
    right: Array | None = None
    if reference is not None:
        known, known_images, _ = _look_at(
            spread(open_photos(reference, model.labels), CALIBRATION_PHOTOS), model.preprocess
        )
        right = answers(model, known_images[_evenly(len(known_images))]) if known else None
    findings += _colours(looks, known, model.preprocess)
    if not all(look.constant for look in looks):
        chosen = _evenly(len(images))
        findings += judge(model, images[chosen], np.asarray(labels)[chosen], right)
    return sorted(findings, key=lambda finding: finding.level)


def _evenly(count: int) -> Array:
    return np.unique(np.linspace(0, count - 1, min(count, JUDGED)).astype(np.int64))


def _look_at(dataset: Dataset, preprocess: Preprocess) -> tuple[list[_Look], Array, list[int]]:
    """Return looks, preprocessed images (n, h, w, c) and labels of the photos that can be read."""
    looks, images, labels = [], [], []
    # A decoder may deliver less than a huge photo has, as long as nothing that is judged here depends on it.
    shortest = int(2 * MOST_ENLARGED * _target(preprocess))
    for index in range(len(dataset)):
        try:
            photo = dataset.photo(index, shortest)
        except DataError:
            continue
        looks.append(_look(dataset.name(index), photo))
        images.append(preprocess(photo))
        labels.append(dataset.label(index))
    return looks, np.stack(images) if images else np.zeros((0, *preprocess.shape), np.float32), labels


def _look(name: str, photo: Image.Image) -> _Look:
    pixels = np.asarray(photo).reshape(photo.height, photo.width, -1)
    constant = bool((pixels == pixels[0, 0]).all())
    rows, columns = (max(1, side // 64) for side in pixels.shape[:2])
    thumbnail = pixels[::rows, ::columns].astype(np.int16)
    grey = float((thumbnail.max(axis=2) - thumbnail.min(axis=2)).mean()) <= GREY_TOLERANCE
    return _Look(name, photo.height, photo.width, grey, constant, hashlib.sha256(pixels.tobytes()).digest())


def _target(preprocess: Preprocess) -> int:
    """The length that a photo's shorter side is brought to."""
    return preprocess.resize or min(preprocess.stretch or preprocess.size)


def _number(looks: Sequence[_Look]) -> list[Finding]:
    different = len({look.digest for look in looks})
    what = f"{different} photo{'s' * (different != 1)}" + (
        f" ({len(looks)}, the others are copies)" * (different < len(looks))
    )
    if different <= HARDLY_ANY:
        text = f"calibration on {what}: ranges will be those of single photos; give {FEW} or more, better 100"
    elif different < FEW:
        text = f"calibration on {what}: few to learn ranges from; give {FEW} or more, better 100"
    else:
        return []
    return [Finding("warning", "too-few", text)]


def _constant(looks: Sequence[_Look]) -> list[Finding]:
    blank = [look.name for look in looks if look.constant]
    if not blank:
        return []
    if len(blank) == len(looks):
        return [
            Finding(
                "error",
                "constant",
                f"all {len(looks)} calibration photos are of one colour each: nothing to learn from",
            )
        ]
    text = f"{len(blank)} of {len(looks)} calibration photos are of one colour each, {blank[0]!r} among them"
    return [Finding("warning", "constant", text)]


def _sizes(looks: Sequence[_Look], preprocess: Preprocess) -> list[Finding]:
    findings = []
    target, (height, width) = _target(preprocess), preprocess.size
    small = [look for look in looks if target > MOST_ENLARGED * min(look.height, look.width)]
    if len(small) > RARE * len(looks):
        one = small[0]
        text = (
            f"{len(small)} of {len(looks)} calibration photos are much smaller than the model's input of "
            f"{height}x{width}: {one.name!r} has {one.height}x{one.width} pixels and is enlarged "
            f"{target / min(one.height, one.width):.0f} times"
        )
        findings.append(Finding("warning", "enlarged", text))
    wanted = width / height
    long = [look for look in looks if _between(look.width / look.height / wanted) > LONGEST_SHAPE]
    if len(long) > RARE * len(looks):
        one = long[0]
        done = "only their centre is seen" if preprocess.resize is not None else "they are squeezed"
        text = (
            f"{len(long)} of {len(looks)} calibration photos have a shape far from the model's input of "
            f"{height}x{width}, such as {one.name!r} with {one.height}x{one.width}: {done}"
        )
        findings.append(Finding("warning", "shape", text))
    return findings


def _between(ratio: float) -> float:
    return max(ratio, 1 / ratio)


def _colours(looks: Sequence[_Look], known: Sequence[_Look] | None, preprocess: Preprocess) -> list[Finding]:
    if preprocess.channels == "grey":
        return []
    grey = sum(look.grey for look in looks) / len(looks)
    if known:
        right = sum(look.grey for look in known) / len(known)
        if abs(grey - right) <= 1 / 2:
            return []
        text = f"{grey:.0%} of the calibration photos are grey, but {right:.0%} of those the file is measured on"
    elif grey == 1:
        text = (
            "all calibration photos are grey, and the model takes colours: right only if it will see grey photos alone"
        )
    elif RARE < grey < 1:
        text = f"{grey:.0%} of the calibration photos are grey and the others in colour"
    else:
        return []
    return [Finding("warning", "colour", text)]


def _folders(dataset: Dataset, labels: tuple[str, ...]) -> list[Finding]:
    """Photos without a label that lie in folders: these are no classes of the model, or some of them are."""
    if any(dataset.label(index) >= 0 for index in range(len(dataset))):
        return []
    paths = [PurePosixPath(dataset.name(index)) for index in range(len(dataset))]
    folders = sorted({path.parent.name for path in paths if path.parent.name})
    unknown = [folder for folder in folders if folder not in labels]
    if not unknown:
        return []
    shown = ", ".join(repr(folder) for folder in unknown[:3]) + ", ..." * (len(unknown) > 3)
    few = f" ({', '.join(labels[:5])}{', ...' * (len(labels) > 5)})"
    text = (
        f"calibration photos lie in folders that are no classes of the model: {shown}; it knows {len(labels)}{few}"
        f"{suggestion(unknown[0], labels)}"
    )
    return [Finding("warning", "folder", text)]
