"""A thousand damaged files of each format of Caffe and Keras: an EdgeError or a whole result, and little memory."""

from __future__ import annotations

import random
import re
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from mutations import mutated

from edge_sdk.converters import caffe
from edge_sdk.converters.keras import keras_state
from edge_sdk.errors import EdgeError, FormatError
from edge_sdk.model import Model

FILES = Path(__file__).parent / "files"
CAFFE, KERAS = FILES / "caffe", FILES / "keras"
INPUTS = 1000
NUMBERS = ("0", "-1", "1", "65536", "2147483647", "99999999999999999999", "1e30", "nan", "0x7fffffff")
MEASURED = 7
"""Memory is counted of one input in so many: a prime, so that every kind of damage is among them."""
FLOOR = 500_000
"""What Python takes to read any file, such as a decoder's tables and a few hundred records."""


@contextmanager
def measured(wanted: bool) -> Iterator[list[int]]:
    """The bytes that Python and NumPy took at once, or 0 where they are not counted, which is ten times as fast."""
    peak = [0]
    if wanted:
        tracemalloc.start()
    yield peak
    if wanted:
        peak[0] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def damaged(files: list[Path], path: Path) -> Iterator[tuple[int, Path, int]]:
    """Write one damaged file after the other to `path`; yield the seed, the file it was made of, and its size."""
    whole = [file.read_bytes() for file in files]
    for seed in range(INPUTS):
        which = seed % len(whole)
        data = mutated(whole[which], seed)
        path.write_bytes(data)
        yield seed, files[which], len(data)


def check_messages(messages: list[str], path: Path) -> None:
    """Some inputs are refused, by the file's name, and some are still whole."""
    assert INPUTS / 4 < len(messages) < INPUTS
    assert all(str(path) in message for message in messages)


def test_damaged_weights_of_caffe(tmp_path):
    """Every number that is handed out is read."""
    path, messages = tmp_path / "damaged.caffemodel", []
    for seed, _, size in damaged([CAFFE / "v1.caffemodel", CAFFE / "residual.caffemodel"], path):
        with measured(seed % MEASURED == 0) as peak:
            try:
                for array in caffe.caffe_state(path).values():
                    array.tobytes()
                for blobs in caffe.read_blobs(path).values():
                    assert all(blob.dtype == np.float32 for blob in blobs)
            except FormatError as error:
                messages.append(str(error))
        assert peak[0] < 4 * size + FLOOR

    check_messages(messages, path)


def test_damaged_definitions_of_caffe(tmp_path):
    """A Model of the right weights, or a message."""
    path, messages = tmp_path / "damaged.prototxt", []
    caffe.read(CAFFE / "v1.prototxt", CAFFE / "v1.caffemodel")  # what is imported once is not counted
    files = [CAFFE / f"{name}.prototxt" for name in ("v1", "residual", "pools", "pointwise", "upsampling", "reshapes")]
    for seed, file, size in damaged(files, path):
        with measured(seed % MEASURED == 0) as peak:
            try:
                assert isinstance(caffe.read(path, file.with_suffix(".caffemodel")), Model)
            except EdgeError as error:
                messages.append(str(error))
        assert peak[0] < 4 * (size + file.with_suffix(".caffemodel").stat().st_size) + FLOOR

    assert INPUTS / 4 < len(messages) < INPUTS


def reworded(text: str, seed: int) -> str:
    """A definition in which one to three words are other words of it, or numbers beyond reason."""
    chance = random.Random(seed)
    words = re.findall(r"\s+|[A-Za-z0-9_.+-]+|.", text)
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.choice([place for place, word in enumerate(words) if word[0].isalnum()])
        number = words[at][0].isdecimal()
        alike = [word for word in words if word[0].isalnum() and word[0].isdecimal() == number]
        words[at] = chance.choice(NUMBERS if number and chance.random() < 0.5 else alike)
    return "".join(words)


def test_definitions_that_say_something_else(tmp_path):
    """Words that are well formed and mean another network: a Model of the right weights, or a message."""
    path, messages = tmp_path / "reworded.prototxt", []
    files = sorted(CAFFE.glob("*.prototxt"))
    caffe.read(CAFFE / "v1.prototxt", CAFFE / "v1.caffemodel")
    for seed in range(INPUTS):
        file = files[seed % len(files)]
        path.write_text(reworded(file.read_text(), seed))
        weights = file.with_suffix(".caffemodel")
        with measured(seed % MEASURED == 0) as peak:
            try:
                assert isinstance(caffe.read(path, weights), Model)
            except EdgeError as error:
                messages.append(str(error))
        assert peak[0] < 4 * (path.stat().st_size + weights.stat().st_size) + FLOOR

    assert INPUTS / 4 < len(messages) < INPUTS * 0.9


def test_damaged_weights_with_a_definition(tmp_path):
    """What does not fit the definition is refused too."""
    path, messages = tmp_path / "damaged.caffemodel", []
    for _ in damaged([CAFFE / "alexnet.caffemodel"], path):
        try:
            assert isinstance(caffe.read(CAFFE / "alexnet.prototxt", path), Model)
        except FormatError as error:
            messages.append(str(error))

    assert INPUTS / 4 < len(messages) < INPUTS


def test_damaged_mean_images(tmp_path):
    """A mean of three axes, or a message."""
    path, messages = tmp_path / "damaged.binaryproto", []
    for seed, _, size in damaged([CAFFE / "mean.binaryproto"], path):
        with measured(seed % MEASURED == 0) as peak:
            try:
                image = caffe.read_mean(path)
                assert image.ndim == 3
                assert np.isfinite(image.mean(axis=(1, 2), dtype=np.float64)).all()
            except FormatError as error:
                messages.append(str(error))
        assert peak[0] < 4 * size + FLOOR

    check_messages(messages, path)


@pytest.mark.parametrize("forms", [("small.h5", "small_weights.h5", "small.weights.h5"), ("small.keras",)])
def test_damaged_weights_of_keras(forms, tmp_path):
    """Every number that is handed out is read."""
    path, messages = tmp_path / f"damaged{Path(forms[0]).suffix}", []
    for seed, _, size in damaged([KERAS / form for form in forms], path):
        with measured(seed % MEASURED == 0) as peak:
            try:
                for array in keras_state(path).values():
                    array.tobytes()
            except FormatError as error:
                messages.append(str(error))
        assert peak[0] < 4 * size + FLOOR

    check_messages(messages, path)
