"""Weights that Keras wrote, under the names of a PyTorch state_dict.

Three forms are told apart by their contents: the HDF5 weights and models of Keras 1 and 2 (`layer/layer/kernel:0`), the
HDF5 weights of Keras 3 (`layers/conv2d_3/vars/0`, with the layer's name as an attribute in newer files), and .keras
files, zip archives of the latter with the model's definition.
"""

from __future__ import annotations

import errno
import json
import mmap
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.converters.keras.hdf5 import Dataset, walk
from edge_sdk.errors import FormatError, UsageError, suggestion
from edge_sdk.spec import Array

WEIGHTS_ENTRY, CONFIG_ENTRY = "model.weights.h5", "config.json"
MOST_CONFIG_BYTES = 1 << 22
EXPANSION = 3
"""How many times larger than the archive its weights may be: they hardly compress."""

_PARTS = {
    "kernel": "weight", "depthwise_kernel": "weight", "W": "weight", "weights": "weight", "gamma": "weight",
    "bias": "bias", "b": "bias", "beta": "bias",
    "moving_mean": "running_mean", "running_mean": "running_mean",
    "moving_variance": "running_var", "running_std": "running_var",
}  # fmt: skip
"""Keras's names of weights; those of one letter, and running_std (a variance), are of Keras 1."""
_PART = re.compile(rf"(?:.*[_/])?({'|'.join(sorted(_PARTS, key=len, reverse=True))})(?:_\d+)?(?::0)?")
# The order of a layer's variables in Keras 3, by its class.
_DENSE, _NORM = ("weight", "bias"), ("weight", "bias", "running_mean", "running_var")
_VARIABLES = {
    "conv2d": _DENSE,
    "depthwise_conv2d": _DENSE,
    "dense": _DENSE,
    "batch_normalization": _NORM,
    "p_re_lu": ("weight",),
}
_DEPTHWISE = "depthwise_conv2d"

Image = tuple[int, int, int]


@dataclass(frozen=True)
class _Place:
    dataset: Dataset
    depthwise: bool


class KerasState(Mapping[str, Array]):
    """Weights of a Keras file under PyTorch-like keys; arrays are views of the file, made when asked for."""

    def __init__(self, path: Path | str, flattened: Mapping[str, Image] | None = None) -> None:
        """Open the file; raises FormatError when it holds no weights of Keras, UsageError when it cannot be opened."""
        self.path = Path(path)
        self._flattened = dict(flattened or {})
        try:
            self._data, config = _opened(self.path)
            self._places = dict(_places(self._data, config))
        except FormatError as error:
            raise FormatError(f"{self.path}: {error}") from error
        if not self._places:
            raise FormatError(f"{self.path}: no weights of layers are in it; wanted a file that Keras wrote")

    def __getitem__(self, key: str) -> Array:
        if key not in self._places:
            raise KeyError(f"{self.path}: no weight {key!r}{suggestion(key, self._places)}")
        place = self._places[key]
        array = place.dataset.read(self._data)
        if place.dataset.dtype != "<f4":
            with np.errstate(over="ignore"):  # doubles beyond the range of floats
                array = array.astype(np.float32)
        layer = key.rpartition(".")[0]
        return _turned(array, depthwise=place.depthwise, image=self._flattened.get(layer), layer=layer)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def keras_state(path: Path | str, flattened: Mapping[str, Image] | None = None) -> KerasState:
    """Return the weights of a .h5 or .keras file under PyTorch-like keys and in PyTorch's layouts.

    `block1_conv1.weight` is (out, in, h, w), a depthwise one (c · m, 1, h, w), a dense one (out, in); batch norms have
    `.weight`, `.bias`, `.running_mean` and `.running_var`. `flattened` names the dense layers behind a flattened image
    with its (h, w, c): Keras flattens channels last, PyTorch first, and their columns are brought into that order.

    Raises:
        FormatError: the file is damaged, or is something else.
        UsageError: the file cannot be opened.
    """
    return KerasState(path, flattened)


def _turned(array: Array, *, depthwise: bool, image: Image | None, layer: str) -> Array:
    """Keras's layouts to PyTorch's."""
    if array.ndim == 4 and depthwise:
        h, w, c, m = array.shape
        return array.transpose(2, 3, 0, 1).reshape(c * m, 1, h, w)
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if array.ndim != 2:
        return array
    if image is None:
        return array.T
    h, w, c = image
    if array.shape[0] != h * w * c:
        raise FormatError(f"layer {layer!r} has {array.shape[0]} inputs, wanted {h}·{w}·{c} of a flattened image")
    return array.reshape(h, w, c, -1).transpose(3, 2, 0, 1).reshape(-1, h * w * c)


def _opened(path: Path) -> tuple[memoryview, Mapping[str, Any] | None]:
    """The bytes of the HDF5 file, mapped or out of the archive, and the model's definition where there is one."""
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                file.seek(0)
                return _from_archive(zipfile.ZipFile(file), path.stat().st_size)
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), None
    except OSError as error:
        if error.errno == errno.EINVAL:  # a damaged archive points before the file's start
            raise FormatError("an offset in the archive lies outside it") from error
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except FormatError:
        raise
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        ValueError,
        EOFError,
        KeyError,
        zlib.error,
    ) as error:
        raise FormatError(f"empty, or a damaged archive: {str(error)[:200]}") from error


def _from_archive(archive: zipfile.ZipFile, size: int) -> tuple[memoryview, Mapping[str, Any] | None]:
    entries = {info.filename: info for info in archive.infolist()}
    if WEIGHTS_ENTRY not in entries:
        raise FormatError(f"a zip archive without {WEIGHTS_ENTRY}; wanted a .keras file")
    for name, most in ((WEIGHTS_ENTRY, EXPANSION * size), (CONFIG_ENTRY, min(MOST_CONFIG_BYTES, EXPANSION * size))):
        if name in entries and entries[name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FormatError(f"entry {name} is compressed in an unusual way; wanted it stored or deflated")
        if name in entries and entries[name].file_size > most:
            raise FormatError(f"entry {name} claims {entries[name].file_size} bytes; an archive of {size} has no such")
    config = None
    if CONFIG_ENTRY in entries:
        try:
            found = json.loads(archive.read(CONFIG_ENTRY))
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{CONFIG_ENTRY} is no JSON: {error}") from error
        config = found if isinstance(found, dict) else None
    return memoryview(archive.read(WEIGHTS_ENTRY)), config


def _places(data: memoryview, config: Mapping[str, Any] | None) -> Iterator[tuple[str, _Place]]:
    """Each key with the place of its array; raises FormatError when two arrays have one key."""
    names: dict[str, str] = {}  # of Keras 3's layers, by their groups
    known = _names_by_group(config) if config is not None else {}
    seen = set()
    for item in walk(data):
        group = item.path.removesuffix("/vars")
        if item.dataset is None:
            if item.path.endswith("/vars") and (name := item.attributes.get("name") or known.get(group)):
                names[group] = name
            continue
        key, place = (
            _of_keras_3(item.path, item.dataset, names)
            if "/vars/" in item.path
            else _of_keras_2(item.path, item.dataset)
        )
        if not key:
            continue
        if key in seen:
            raise FormatError(f"two arrays are the weight {key[:80]!r}")
        seen.add(key)
        yield key, place


def _of_keras_2(path: str, dataset: Dataset) -> tuple[str, _Place]:
    """`/model_weights/layer/…/kernel:0`; the layer is the folder nearest to the weight, or named in it."""
    steps = path.strip("/").split("/")
    if steps[0] == "model_weights":
        steps = steps[1:]
    match = _PART.fullmatch(steps[-1])
    if steps[0] == "optimizer_weights" or len(steps) < 2 or match is None:
        return "", _Place(dataset, depthwise=False)
    layer, word = steps[-2], match.group(1)
    # Keras 3 calls depthwise weights (h, w, c, 1) kernels too; a convolution with one output is none of a classifier's.
    shape = dataset.shape
    depthwise = word == "depthwise_kernel" or (len(shape) == 4 and shape[3] == 1 and shape[2] > 1)
    return f"{layer}.{_PARTS[word]}", _Place(dataset, depthwise)


def _of_keras_3(path: str, dataset: Dataset, names: Mapping[str, str]) -> tuple[str, _Place]:
    """`/layers/conv2d_3/vars/0`; weights of optimizers and random generators are passed over."""
    group, _, index = path.rpartition("/vars/")
    kind = re.sub(r"_\d+$", "", group.rpartition("/")[2])
    place = _Place(dataset, kind == _DEPTHWISE)
    if kind not in _VARIABLES or group.startswith("/optimizer"):
        return "", place
    if group not in names:
        raise FormatError(
            f"group {group[:80]!r} does not say its layer's name, as in older files of Keras 3; give the .keras file"
        )
    parts = _VARIABLES[kind]
    if not index.isdecimal() or len(index) > 2 or int(index) >= len(parts):
        raise FormatError(f"layer {names[group][:80]!r} has a weight {index[:20]!r}; wanted {len(parts)} of a {kind}")
    return f"{names[group]}.{parts[int(index)]}", place


def _names_by_group(config: Mapping[str, Any]) -> dict[str, str]:
    """The groups that Keras 3 gives the layers of a model: their classes in snake case, counted."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for layer in layers if isinstance(layers, list) else ():
        settings = layer.get("config") if isinstance(layer, dict) else None
        name = settings.get("name") if isinstance(settings, dict) else None
        kind = layer.get("class_name") if isinstance(layer, dict) else None
        if isinstance(name, str) and isinstance(kind, str):
            base = _snake_case(kind)
            count = counts.get(base, 0)
            counts[base] = count + 1
            names[f"/layers/{base}_{count}" if count else f"/layers/{base}"] = name
    return names


def _snake_case(name: str) -> str:
    """keras.src.utils.naming.to_snake_case."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
