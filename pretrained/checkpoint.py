"""Checkpoints as our weights: names mapped, layouts turned, everything accounted for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_sdk.converters.tensor_file import PIECE_BYTES, TensorFile
from edge_sdk.errors import FormatError, UsageError
from edge_sdk.graph import Graph
from edge_sdk.model import HEAD
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.shape import Flatten
from edge_sdk.preprocess import Preprocess
from edge_sdk.pretrained.architectures import ZOO, Architecture
from edge_sdk.pretrained.checkpoint_form import Comparison
from edge_sdk.pretrained.matching import SAME_NETWORK, best_comparison, match_shapes
from edge_sdk.spec import Array, Value
from edge_sdk.workspace import Workspace


@dataclass(frozen=True)
class Checkpoint:
    """A file whose tensors are those of a network of the zoo, in the names of some library."""

    file: TensorFile
    comparison: Comparison

    @property
    def library(self) -> str:
        """Whose names the tensors have: "published", "timm" or "transformers"."""
        return self.comparison.form.convention.library

    @property
    def architecture(self) -> Architecture:
        """The network, in the zoo's own form."""
        return ZOO[self.comparison.form.name]

    def count_classes(self) -> int:
        """How many classes the checkpoint's classifier has.

        Raises:
            UsageError: it has none.
        """
        if self.comparison.classes is None:
            raise UsageError(f"{self.file.path}: there is no classifier in it; say how many classes: num_classes=…")
        return self.comparison.classes

    def preprocess(self, preprocess: Preprocess) -> Preprocess:
        """How photos are fed to this network by those who trained it."""
        if not self.comparison.form.convention.symmetric_pixels:
            return preprocess
        return replace(preprocess, mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))

    def weights(self, graph: Graph, initial: Workspace) -> tuple[Graph, Workspace]:
        """Return the graph as the checkpoint's library computes it, and its weights.

        The classifier keeps its initial values when its number of classes differs. Each tensor is copied once, in
        pieces; neither the file nor initial weights that it replaces take memory beside the result.

        Raises:
            FormatError: a tensor is damaged, or is not of floating point.
        """
        arrays = Workspace()
        for parameter in graph.params:
            key = self.comparison.keys.get(self.comparison.form.keys[parameter])
            wanted = graph.specs[parameter].shape
            if parameter.startswith(HEAD) and (key is None or self.file.shapes[key][0] != _classes(graph)):
                arrays[parameter] = initial[parameter]
                continue
            stored = self.file[key] if key else None
            if key is None or stored is None or stored.dtype.kind != "f":
                found = self.file.dtypes[key] if key else "missing"
                raise FormatError(f"{self.file.path}: tensor {key or parameter!r} is {found}, wanted floating point")
            arrays[parameter] = _copied(turned(graph, parameter, stored), self.file).reshape(wanted)
        return self.comparison.form.convention.adapted(graph), arrays


def open_checkpoint(path: Path | str, name: str, width: float = 1.0) -> Checkpoint:
    """Open a file of weights of the zoo's network `name`: a PyTorch checkpoint or a safetensors file.

    Raises:
        FormatError: the file is damaged, or of another network; the message says of which.
    """
    from edge_sdk.converters.weights_file import read_weights

    file = read_weights(path)
    comparison = best_comparison(name, file.shapes, width)
    if comparison.fits:
        return Checkpoint(file, comparison)
    likely = [one for one in match_shapes(file.shapes) if (one.name, one.width) != (name, width)]
    message = f"{path}: not a checkpoint of {name}: {comparison.difference()}"
    if likely and likely[0].score >= max(SAME_NETWORK, comparison.score):
        message = f"{path}: not a checkpoint of {name}; it looks like {likely[0]}"
    raise FormatError(message)


def _classes(graph: Graph) -> int:
    return graph.specs[Value(f"{HEAD}bias")].shape[0]


def turned(graph: Graph, parameter: Value, array: Array) -> Array:
    """PyTorch's layouts to ours: (out, in, h, w) to (out, h, w, in), depthwise (c, 1, h, w) to (1, h, w, c), and the
    columns of a dense layer behind a flattened image from (c, h, w) to (h, w, c). A view; a reshape finishes it.
    """
    node, wanted = graph.consumers(parameter)[0], graph.specs[parameter].shape
    if isinstance(node.op, Linear) and array.ndim in {2, 4}:
        source = graph.producer(node.inputs[0])
        while source is not None and not isinstance(source.op, Flatten) and source.op.name == "dropout":
            source = graph.producer(source.inputs[0])
        if source is not None and isinstance(source.op, Flatten):
            _, h, w, c = graph.specs[source.inputs[0]].shape
            if wanted[1] == h * w * c:
                array = array.reshape(-1, c, h, w)
        return np.asarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array
    if len(wanted) == 4:
        array = array.reshape(*array.shape, 1, 1) if array.ndim == 2 else array
        return np.asarray(
            array.transpose(1, 2, 3, 0) if wanted[0] == 1 == array.shape[1] else array.transpose(0, 2, 3, 1)
        )
    return array


def _copied(array: Array, file: TensorFile) -> Array:
    """A float32 copy that is the caller's own; what was read of the file is given back piece by piece."""
    result = np.empty(array.shape, np.float32)
    if not array.ndim:
        result[...] = array
        return result
    rows = max(1, PIECE_BYTES * len(array) // max(1, array.nbytes))
    for first in range(0, len(array), rows):
        result[first : first + rows] = array[first : first + rows]
        file.give_back()
    return result
