"""An integer network run over all images once, from layer to layer, while weights further on are being decided."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from edge_sdk.errors import DataError
from edge_sdk.graph import Graph
from edge_sdk.passes.dead_code import prune
from edge_sdk.quantization.layer_outputs import real_numbers
from edge_sdk.session import Session
from edge_sdk.spec import Array, Value
from edge_sdk.workspace import Workspace

KEPT_BYTES = 256 * 2**20
"""The most memory for what is kept of all images; where more is alive, the run goes on from an earlier place."""


class Frontier:
    """How far a graph has been run: the values that later nodes read, for all images.

    A layer after the other is decided, each on what the layers before it make of the images. Running the network from
    its start for each of them takes time by the square of their number; here every node runs about once.
    """

    def __init__(self, graph: Graph, images: Iterable[Array], most: int = KEPT_BYTES) -> None:
        """Stand at the start of a graph with one input, which `images`, batches (n, h, w, c), are fed to.

        Raises:
            DataError: there is no image.
        """
        (image,) = graph.inputs
        self._graph, self._most = graph, most
        self._at = 0
        self._kept = [{image: batch} for batch in images]
        if not self._kept:
            raise DataError("there is no image; give some like those the model will see")

    def advance(self, workspace: Workspace, value: Value) -> None:
        """Go on until `value` is computed; weights of the nodes that were passed must not change any more.

        Where what would have to be kept is too large, the frontier stays where it is.
        """
        producer = self._graph.producer(value)
        at = 0 if producer is None else self._graph.nodes.index(producer) + 1
        if at <= self._at:
            return
        alive = self._alive(at)
        images = sum(len(next(iter(batch.values()))) for batch in self._kept)
        if images * sum(self._bytes(one) for one in alive if one not in self._graph.inputs) <= self._most:
            self._kept = list(self._run(workspace, alive))
            self._at = at

    def outputs(self, workspace: Workspace, values: Sequence[Value]) -> Iterator[dict[Value, Array]]:
        """Yield the real numbers of some values for each batch; what lies behind the frontier is run anew each time."""
        for batch in self._run(workspace, values):
            yield {value: real_numbers(array, self._graph.specs[value]) for value, array in batch.items()}

    def _alive(self, at: int) -> list[Value]:
        """The values computed by the nodes before a place, and read by those from it on."""
        graph = self._graph
        before = [*graph.inputs, *(value for node in graph.nodes[:at] for value in node.outputs)]
        read = {value for node in graph.nodes[at:] for value in node.inputs} | set(graph.outputs)
        return [value for value in before if value in read]

    def _bytes(self, value: Value) -> int:
        """How many bytes an image's part of a value has."""
        spec = self._graph.specs[value]
        return int(np.prod(spec.shape[1:])) * np.dtype(spec.dtype).itemsize

    def _run(self, workspace: Workspace, values: Sequence[Value]) -> Iterator[dict[Value, Array]]:
        """Yield the stored numbers of some values for each batch."""
        known = [value for value in values if value in self._kept[0]]
        wanted = tuple(dict.fromkeys(value for value in values if value not in known))
        part, arrays = self._part(workspace, wanted) if wanted else (None, workspace)
        session: Session | None = None
        size = 0
        for batch in self._kept:
            result = {value: batch[value] for value in known}
            if part is not None:
                if session is None or size != len(next(iter(batch.values()))):
                    size = len(next(iter(batch.values())))
                    session = Session(part, arrays, batch=size)
                made = session.run({value: batch[value] for value in part.inputs})
                result |= {Value(name): array for name, array in made.items()}
            yield result

    def _part(self, workspace: Workspace, wanted: tuple[Value, ...]) -> tuple[Graph, Workspace]:
        """The graph from what is kept to some values."""
        kept = tuple(self._kept[0])
        rest = dataclasses.replace(self._graph, inputs=kept, nodes=self._graph.nodes[self._at :])
        part, arrays = prune(rest, workspace, outputs=wanted)
        read = {value for node in part.nodes for value in node.inputs}
        return dataclasses.replace(part, inputs=tuple(v for v in part.inputs if v in read)), arrays
