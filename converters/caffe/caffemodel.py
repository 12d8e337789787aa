"""Weights in .caffemodel files and means in .binaryproto files, read as views of the file.

Both are protocol buffers. Of Caffe's schema (src/caffe/proto/caffe.proto) this is what carries weights:

    NetParameter        2 layers (V1LayerParameter), 100 layer (LayerParameter)
    LayerParameter      1 name, 2 type, 3 bottom, 4 top, 7 blobs
    V1LayerParameter    1 layer (V0), 4 name, 5 type (a number), 6 blobs
    BlobProto           1 num, 2 channels, 3 height, 4 width, 5 data, 7 shape, 8 double_data
    BlobShape           1 dim
"""

from __future__ import annotations

import array
import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_sdk.converters.caffe.wire_format import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Field,
    fields,
    float32,
    integers,
    text,
)
from edge_sdk.errors import FormatError, UsageError, suggestion
from edge_sdk.spec import Array

V1_LAYERS, LAYER = 2, 100
NAME, TYPE, BOTTOM, TOP, BLOBS = 1, 2, 3, 4, 7
V0_LAYER, V1_NAME, V1_TYPE, V1_BLOBS = 1, 4, 5, 6
V1_INNER_PRODUCT = "14"
LEGACY_SHAPE = (1, 2, 3, 4)
DATA, SHAPE, DOUBLE_DATA = 5, 7, 8
MOST_BLOBS = 1 << 16
MOST_PIECES = 1 << 10
MOST_AXES = 32
BATCH_NORM_BLOBS = 3
SMALLEST_FACTOR = 1e-30


@dataclass
class Blob:
    """Numbers in a file: their shape and the ranges of bytes where they lie, in order."""

    shape: tuple[int, ...] = ()
    pieces: list[tuple[int, int]] = field(default_factory=list)
    singles: array.array[float] = field(default_factory=lambda: array.array("f"))
    """Numbers that are not packed, as none of Caffe's writers leaves them."""
    double: bool = False

    def read(self, data: memoryview) -> Array:
        """Return float32 numbers of the shape; those of one range are a read-only view of the file."""
        stored = "<f8" if self.double else "<f4"
        parts = [np.frombuffer(data[start:end], stored) for start, end in self.pieces]
        if self.singles:
            parts.append(np.frombuffer(self.singles, np.float32))
        numbers = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.float32), *parts])
        with np.errstate(over="ignore"):  # doubles beyond the range of floats
            return numbers.astype(np.float32, copy=False).reshape(self.shape)


@dataclass
class StoredLayer:
    """A layer's weights in a file."""

    kind: str = ""
    bottom: str = ""
    top: str = ""
    blobs: list[Blob] = field(default_factory=list)


class Caffemodel(Mapping[str, list[Array]]):
    """The blobs of each layer that has some, by the layer's name; arrays are made when asked for."""

    def __init__(self, path: Path | str) -> None:
        """Open the file; raises FormatError when it is not one, UsageError when it cannot be opened."""
        self.path = Path(path)
        self._data = _mapped(self.path)
        with _naming(self.path):
            self._layers = _stored_layers(self._data)
            if not self._layers:
                raise FormatError("no layer with weights is in it; wanted a .caffemodel")

    def __getitem__(self, name: str) -> list[Array]:
        if name not in self._layers:
            raise KeyError(f"{self.path}: no layer {name!r} with weights{suggestion(name, self._layers)}")
        return [blob.read(self._data) for blob in self._layers[name].blobs]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def shapes(self, name: str) -> list[tuple[int, ...]]:
        """Return the shapes of a layer's blobs without reading them."""
        return [blob.shape for blob in self._layers[name].blobs]

    def is_batch_norm(self, name: str) -> bool:
        """Tell whether a layer keeps running statistics."""
        layer = self._layers[name]
        return layer.kind == "BatchNorm" and len(layer.blobs) == BATCH_NORM_BLOBS

    def is_scale_of(self, name: str, norm: str) -> bool:
        """Tell whether a layer holds the scale and the offset of a batch norm's channels."""
        layer, before = self._layers[name], self._layers[norm]
        return layer.kind == "Scale" and layer.bottom == before.top and layer.blobs[0].shape == before.blobs[0].shape

    def is_dense(self, name: str) -> bool:
        """Tell whether a layer's first blob is a matrix."""
        return self._layers[name].kind in ("InnerProduct", V1_INNER_PRODUCT)


class CaffeState(Mapping[str, Array]):
    """A .caffemodel under the names of a PyTorch state_dict."""

    def __init__(self, model: Caffemodel) -> None:
        self._model = model
        self._places = dict(_state_places(model))

    def __getitem__(self, key: str) -> Array:
        layer, index = self._places[key]
        blobs = self._model[layer]
        if self._model.is_batch_norm(layer):
            return divided_statistics(blobs, layer)[index]
        if index:
            return blobs[index].reshape(-1)
        return as_matrix(blobs[0]) if self._model.is_dense(layer) else blobs[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def read_blobs(path: Path | str) -> dict[str, list[Array]]:
    """Return the blobs of each layer of a .caffemodel that has some: float32, read-only, in Caffe's layouts.

    Raises:
        FormatError: the file is damaged, or is something else.
        UsageError: the file cannot be opened.
    """
    model = Caffemodel(path)
    return {name: model[name] for name in model}


def caffe_state(path: Path | str) -> CaffeState:
    """Return the weights of a .caffemodel under PyTorch-like keys: `conv1.weight` (out, in, h, w), `conv1.bias`.

    A BatchNorm layer gives `.running_mean` and `.running_var`, divided by Caffe's scale factor; what the Scale layer
    right behind it holds is its `.weight` and `.bias`. Arrays are views of the file, made when asked for.

    Raises:
        FormatError: the file is damaged, or is something else.
        UsageError: the file cannot be opened.
    """
    return CaffeState(Caffemodel(path))


def read_mean(path: Path | str) -> Array:
    """Return the mean image (channels, height, width) of a .binaryproto, its channels blue, green and red.

    Raises:
        FormatError: the file is damaged, or is something else.
        UsageError: the file cannot be opened.
    """
    path = Path(path)
    data = _mapped(path)
    with _naming(path):
        blob = _blob(data, 0, len(data))
        shape = blob.shape[1:] if len(blob.shape) == 4 and blob.shape[0] == 1 else blob.shape
        if len(shape) != 3 or not math.prod(shape):
            raise FormatError(f"numbers of shape {list(blob.shape)}, wanted a mean image (1, channels, height, width)")
        image = blob.read(data).reshape(shape)
        if not np.isfinite(image).all():
            raise FormatError("infinite or undefined numbers are in it, wanted a mean image")
        return image


def as_matrix(blob: Array) -> Array:
    """The weights of a dense layer as (out, in); those of Caffe before 2014 are (1, 1, out, in)."""
    return blob.reshape(blob.shape[-2:]) if blob.ndim == 4 and blob.shape[:2] == (1, 1) else blob


def divided_statistics(blobs: Sequence[Array], layer: str) -> tuple[Array, Array]:
    """Return mean (c) and variance (c) of a BatchNorm layer, whose blobs are both times a factor, and the factor."""
    if len(blobs) != BATCH_NORM_BLOBS or blobs[0].size != blobs[1].size or blobs[2].size != 1:
        shapes = [list(blob.shape) for blob in blobs]
        raise FormatError(f"BatchNorm {layer!r} has blobs {shapes}, wanted mean (c), variance (c) and a factor (1)")
    factor = float(blobs[2].reshape(-1)[0])
    if not math.isfinite(factor) or 0 < abs(factor) < SMALLEST_FACTOR:
        raise FormatError(f"BatchNorm {layer!r} has the factor {factor}, wanted how many batches were averaged")
    share = np.float32(0 if factor == 0 else 1 / factor)
    with np.errstate(invalid="ignore", over="ignore"):
        return blobs[0].reshape(-1) * share, blobs[1].reshape(-1) * share


def _state_places(model: Caffemodel) -> Iterator[tuple[str, tuple[str, int]]]:
    """Each key with the layer and the blob where it lies."""
    norm = ""  # the layer before, where that is a BatchNorm
    for layer in model:
        names = ("running_mean", "running_var") if model.is_batch_norm(layer) else ("weight", "bias")
        owner = norm if norm and model.is_scale_of(layer, norm) else layer
        for index, name in zip(range(len(model.shapes(layer))), names, strict=False):
            yield f"{owner}.{name}", (layer, index)
        norm = layer if model.is_batch_norm(layer) else ""


def _mapped(path: Path) -> memoryview:
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise FormatError(f"{path}: the file is empty") from error


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name before the message of a FormatError."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def _stored_layers(data: memoryview) -> dict[str, StoredLayer]:
    """Read where the weights lie; of two layers of one name the later one counts, as in Caffe."""
    layers: dict[str, StoredLayer] = {}
    count = 0
    for found in fields(data, 0, len(data)):
        if found.number not in (V1_LAYERS, LAYER) or found.kind != BYTES:
            continue
        name, layer = _stored_layer(data, found)
        count += len(layer.blobs)
        if count > MOST_BLOBS:
            raise FormatError(f"more than {MOST_BLOBS} blobs are in it; no network has as many")
        if layer.blobs:
            layers[name] = layer
    return layers


def _stored_layer(data: memoryview, message: Field) -> tuple[str, StoredLayer]:
    old = message.number == V1_LAYERS
    name_number, blobs_number = (V1_NAME, V1_BLOBS) if old else (NAME, BLOBS)
    name, layer = "", StoredLayer()
    for found in fields(data, message.start, message.end):
        if found.number == name_number:
            name = text(data, found)
        elif found.number == TYPE and not old:
            layer.kind = text(data, found)
        elif found.number == BOTTOM and not old:
            layer.bottom = text(data, found)
        elif found.number == TOP and not old:
            layer.top = text(data, found)
        elif found.number == V1_TYPE and old:
            layer.kind = str(found.value)
        elif found.number == V0_LAYER and old:
            raise FormatError(
                "the form of Caffe before 2014 (V0); bring it up to date with Caffe's tool upgrade_net_proto_binary"
            )
        elif found.number == blobs_number and found.kind == BYTES:
            layer.blobs.append(_blob(data, found.start, found.end))
            if len(layer.blobs) > MOST_BLOBS:
                raise FormatError(f"layer {name[:40]!r} has more than {MOST_BLOBS} blobs")
    return name, layer


def _blob(data: memoryview, start: int, end: int) -> Blob:
    blob = Blob()
    legacy: dict[int, int] = {}
    shape: list[int] | None = None
    doubles: list[tuple[int, int]] = []
    for found in fields(data, start, end):
        if found.number in LEGACY_SHAPE and found.kind == VARINT:
            legacy[found.number] = found.value
        elif found.number == SHAPE and found.kind == BYTES:
            shape = shape or []
            for axis in fields(data, found.start, found.end):
                if axis.number == 1:
                    shape.extend(_some(integers(data, axis), MOST_AXES + 1 - len(shape)))
        elif found.number == DATA and found.kind == FIXED32:
            blob.singles.append(float32(data, found))
        elif found.number in (DATA, DOUBLE_DATA) and found.kind in (BYTES, FIXED64) and found.end > found.start:
            (blob.pieces if found.number == DATA else doubles).append((found.start, found.end))
            if len(blob.pieces) + len(doubles) > MOST_PIECES:
                raise FormatError(f"a blob at byte {start} is in more than {MOST_PIECES} pieces")
    if doubles:
        blob.pieces, blob.double = doubles, True
    # A single number has neither form of shape.
    blob.shape = (
        tuple(legacy.get(number, 0) for number in LEGACY_SHAPE) if legacy and shape is None else tuple(shape or ())
    )
    _check_size(blob, start)
    return blob


def _some(numbers: Iterator[int], most: int) -> list[int]:
    return [number for number, _ in zip(numbers, range(max(most, 0)), strict=False)]


def _check_size(blob: Blob, start: int) -> None:
    size = 8 if blob.double else 4
    if blob.singles and blob.pieces:
        raise FormatError(f"a blob at byte {start} has packed and single numbers; wanted one form")
    if any((to - at) % size for at, to in blob.pieces) or len(blob.shape) > MOST_AXES:
        raise FormatError(f"a blob at byte {start} has a broken number, or more than {MOST_AXES} axes")
    numbers = len(blob.singles) + sum(to - at for at, to in blob.pieces) // size
    if max(blob.shape, default=0) >= 1 << 31 or math.prod(blob.shape) != numbers:
        raise FormatError(f"a blob at byte {start} has the shape {list(blob.shape)}, but {numbers} numbers")
