"""A Caffe network in the making as a graph: its blobs, its weights, and the table of what makes each layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.builder import Builder
from edge_sdk.converters.caffe.network import Layer
from edge_sdk.converters.caffe.text_format import Message
from edge_sdk.errors import EdgeError, FormatError
from edge_sdk.op import Op
from edge_sdk.ops.shape import Flatten, Reshape, Transpose
from edge_sdk.spec import BATCH, Array, Spec, Value
from edge_sdk.workspace import Workspace

Shape = tuple[int, ...]
Convert = Callable[["Conversion", Layer], None]
LAYERS: dict[str, Convert] = {}
"""What makes each type of layer."""

# Fields that say how Caffe computes or starts training, and not what.
WITHOUT_EFFECT = ("engine", "weight_filler", "bias_filler", "filler", "force_nd_im2col", "stable_prod_grad")


@dataclass(frozen=True)
class Blob:
    """A blob of Caffe's as a value of the graph.

    Attributes:
        value: (n, h, w, c) for images (c, h, w), else (n, …) as in Caffe.
        shape: Caffe's shape without the batch.
        image: For rows (n, c · h · w) whose numbers still lie as (h, w, c): that (c, h, w).
    """

    value: Value
    shape: Shape
    image: tuple[int, int, int] | None = None


def converts(*kinds: str) -> Callable[[Convert], Convert]:
    """Register the function that makes layers of these types."""

    def register(function: Convert) -> Convert:
        for kind in kinds:
            LAYERS[kind] = function
        return function

    return register


class Conversion:
    """Adds layers to a graph.

    Attributes:
        builder: The graph so far.
        workspace: Its weights.
        batch: How many images the file says that are computed at once; here it is open.
    """

    def __init__(
        self, name: str, layers: Sequence[Layer], weights: Mapping[str, list[Array]], inputs: Mapping[str, Shape]
    ) -> None:
        self.builder = Builder(name)
        self.workspace = Workspace()
        self._layers = layers
        self._weights = weights
        self._blobs: dict[str, Blob] = {}
        self._absorbed: set[int] = set()
        self._index = 0
        self._constants = 0
        self._readers = _readers(layers)
        self.batch = next(iter(inputs.values()))[0]
        for blob, shape in inputs.items():
            self._blobs[blob] = self._input(blob, shape)

    def run(self) -> None:
        """Add all layers; raises FormatError, for layers of unknown types with the names of all of them."""
        unknown = [str(layer) for layer in self._layers if layer.kind not in LAYERS]
        if unknown:
            raise FormatError(f"no form here of {', '.join(unknown)}")
        for index, layer in enumerate(self._layers):
            self._index = index
            if index not in self._absorbed:
                try:
                    LAYERS[layer.kind](self, layer)
                except EdgeError as error:
                    named = str(error) if str(error).startswith("layer ") else f"{layer}: {error}"
                    raise FormatError(named) from error

    def bottom(self, layer: Layer, index: int = 0) -> Blob:
        """A blob that a layer reads."""
        if index >= len(layer.bottoms):
            raise FormatError(f"{layer} reads {len(layer.bottoms)} blobs, wanted {index + 1}")
        return self.blob(layer.bottoms[index])

    def bottoms(self, layer: Layer) -> list[Blob]:
        """All that a layer reads, one or more."""
        return [self.bottom(layer, index) for index in range(max(len(layer.bottoms), 1))]

    def blob(self, name: str) -> Blob:
        """A blob by name, as the layers so far have left it."""
        if name not in self._blobs:
            raise FormatError(f"blob {name[:80]!r} is read, but no layer before makes it")
        return self._blobs[name]

    def image(self, layer: Layer, index: int = 0) -> Blob:
        """A blob of images (c, h, w) that a layer reads."""
        blob = self.bottom(layer, index)
        if len(blob.shape) != 3:
            raise FormatError(f"{layer} reads a blob of shape {list(blob.shape)}, wanted images (c, h, w)")
        return blob

    def plain(self, blob: Blob) -> Value:
        """The blob's rows (n, …) with their numbers in Caffe's order."""
        if len(blob.shape) == 3:
            c, h, w = blob.shape
            return blob.value if h * w == 1 or c == 1 else self.builder.add(Transpose((0, 3, 1, 2)), blob.value)
        if blob.image is None or blob.image[0] == 1 or blob.image[1] * blob.image[2] == 1:
            return blob.value
        c, h, w = blob.image
        images = self.builder.add(Reshape((BATCH, h, w, c)), blob.value)
        return self.builder.add(Flatten(), self.builder.add(Transpose((0, 3, 1, 2)), images))

    def from_plain(self, value: Value, shape: Shape, name: str) -> Blob:
        """The rows of `plain` in another shape."""
        if len(shape) != 3:
            return Blob(self.builder.add(Reshape((BATCH, *shape)), value, name=name), shape)
        c, h, w = shape
        if h * w == 1 or c == 1:
            return Blob(self.builder.add(Reshape((BATCH, h, w, c)), value, name=name), shape)
        planes = self.builder.add(Reshape((BATCH, c, h, w)), value)
        return Blob(self.builder.add(Transpose((0, 2, 3, 1)), planes, name=name), shape)

    def add(self, layer: Layer, op: Op, *inputs: Value) -> Value:
        """Append a node under the layer's name."""
        return self.builder.add(op, *inputs, name=layer.name)

    def result(self, layer: Layer, value: Value) -> None:
        """Say that `value`, images (n, h, w, c) or rows, is the layer's only blob."""
        shape = self.builder.spec(value).shape[1:]
        self.blob_result(layer, Blob(value, (shape[2], *shape[:2]) if len(shape) == 3 else shape))

    def pointwise(self, layer: Layer, like: Blob, value: Value) -> None:
        """Say that `value`, whose numbers lie as those of `like`, is the layer's only blob."""
        self.blob_result(layer, Blob(value, like.shape, like.image))

    def blob_result(self, layer: Layer, blob: Blob) -> None:
        """Say what the layer's only blob is."""
        if len(layer.tops) != 1:
            raise FormatError(f"{layer} makes {len(layer.tops)} blobs, wanted 1")
        self.set(layer.tops[0], blob)

    def channelled(self, layer: Layer, index: int = 0) -> Blob:
        """A blob of images or rows that a layer reads, with its channels last."""
        blob = self.bottom(layer, index)
        if len(blob.shape) not in (1, 3):
            raise FormatError(f"{layer} reads a blob of shape {list(blob.shape)}, wanted images (c, h, w) or rows (c)")
        return Blob(self.plain(blob), blob.shape) if blob.image is not None else blob

    def set(self, name: str, blob: Blob) -> None:
        """Say what a blob is from here on; a layer in place gives it a new value."""
        self._blobs[name] = blob

    def weights(self, layer: Layer, least: int, most: int) -> list[Array]:
        """The layer's blobs in the .caffemodel, from `least` to `most` of them."""
        if layer.name not in self._weights:
            raise FormatError(f"{layer}: the weights file has no layer of this name; it belongs to another network")
        found = self._weights[layer.name]
        if not least <= len(found) <= most:
            raise FormatError(f"{layer}: the weights file has {len(found)} blobs of it, wanted {least}")
        return found

    def param(self, name: str, array: Array) -> Value:
        """Add a weight, as float32 in memory of its own order."""
        if name in self.builder.specs:
            raise FormatError(f"two layers have a weight {name[:80]!r}; give each layer a name of its own")
        self.workspace[name] = stored = np.ascontiguousarray(array, np.float32)
        return self.builder.param(name, Spec(stored.shape))

    def scalar(self, layer: Layer, number: float) -> Value:
        """Add a constant of one number."""
        self._constants += 1
        return self.param(f"{layer.name}.constant{self._constants}", np.array([number], np.float32))

    def absorb_reader(self, layer: Layer, kind: str) -> Layer | None:
        """Return the next layer, when it is of this type and alone reads the layer's result, and count it as done."""
        index = self._index
        if len(layer.tops) != 1 or self._readers.get((index, layer.tops[0])) != [index + 1]:
            return None
        after = self._layers[index + 1]
        if after.kind != kind or len(after.bottoms) != 1:
            return None
        self._absorbed.add(index + 1)
        return after

    def _input(self, name: str, shape: Shape) -> Blob:
        if len(shape) != 4 or min(shape) < 1:
            raise FormatError(f"input {name[:80]!r} has the shape {list(shape)}, wanted images (n, c, h, w)")
        _, c, h, w = shape
        return Blob(self.builder.input(name or "data", Spec((BATCH, h, w, c))), (c, h, w))


def check_all_read(parameters: Message) -> None:
    """Refuse parameters that nothing here looks at, lest the network be another one than the file's."""
    parameters.ignore(*WITHOUT_EFFECT)
    if unread := parameters.unread():
        raise FormatError(f"{parameters.path}: {', '.join(unread)[:200]} is unknown here")


def unread_blobs(layers: Sequence[Layer]) -> list[str]:
    """Return the names of blobs that no layer reads: a network's outputs."""
    readers = _readers(layers)
    last = {top: index for index, layer in enumerate(layers) for top in layer.tops}
    return [top for top, index in last.items() if not readers.get((index, top))]


def needed_layers(layers: Sequence[Layer], output: str) -> list[Layer]:
    """Return the layers that the last blob of a name depends on, in order."""
    wanted, kept = {output}, []
    for layer in reversed(layers):
        if wanted.intersection(layer.tops):
            wanted.difference_update(layer.tops)
            wanted.update(layer.bottoms)
            kept.append(layer)
    return kept[::-1]


def _readers(layers: Sequence[Layer]) -> dict[tuple[int, str], list[int]]:
    """Which layers read each blob of each layer; a layer in place reads the one of the layer before."""
    makers: dict[str, int] = {}
    readers: dict[tuple[int, str], list[int]] = {}
    for index, layer in enumerate(layers):
        for bottom in layer.bottoms:
            if bottom in makers:
                readers.setdefault((makers[bottom], bottom), []).append(index)
        makers.update(dict.fromkeys(layer.tops, index))
    return readers
