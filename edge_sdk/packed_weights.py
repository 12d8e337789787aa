"""The forms in which kernels read constant weights: made before the first run, made anew when the weights change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from edge_sdk.device_memory import DeviceMemory
from edge_sdk.graph import Graph, Node
from edge_sdk.kernel import Kernel, Packing
from edge_sdk.op import Op
from edge_sdk.spec import Array, Spec, Value
from edge_sdk.workspace import address, times_written


@dataclass
class _Form:
    """One kernel's form of one parameter, and what it was last made of."""

    op: Op
    packing: Packing
    inputs: tuple[Spec, ...]
    source: Value
    arrays: tuple[Array, ...]
    made_of: tuple[int, int] | None = None


class PackedWeights:
    """What the nodes of a graph need of parameters that the graph does not update."""

    def __init__(self, graph: Graph, kernels: Sequence[Kernel], memory: DeviceMemory) -> None:
        self._forms: dict[int, _Form] = {}
        constant = constant_params(graph)
        for step, (node, kernel) in enumerate(zip(graph.nodes, kernels, strict=True)):
            packing = kernel.packing
            if packing is not None and keeps_its_form(node, kernel, constant):
                inputs = tuple(graph.specs[value] for value in node.inputs)
                arrays = tuple(_array(spec, memory) for spec in kernel.packed_specs(node.op, inputs))
                self._forms[step] = _Form(node.op, packing, inputs, node.inputs[packing.input], arrays)

    def __contains__(self, step: int) -> bool:
        return step in self._forms

    def get(self, step: int, changing: Sequence[Array]) -> Sequence[Array]:
        """Return the form that is kept for a step, or else `changing`, which is made before each run."""
        return self._forms[step].arrays if step in self._forms else changing

    @property
    def bytes(self) -> int:
        """Memory of all forms."""
        return sum(array.nbytes for form in self._forms.values() for array in form.arrays)

    def refresh(self, arrays: Mapping[str, Array]) -> None:
        """Make the forms whose parameter has been exchanged or written since."""
        for form in self._forms.values():
            place = address(arrays[form.source])
            now = (place, times_written(place))
            if form.made_of != now:
                form.packing.pack(form.op, form.arrays, form.inputs, arrays[form.source])
                form.made_of = now


def keeps_its_form(node: Node, kernel: Kernel, constant: Collection[Value]) -> bool:
    """Return whether what a node's kernel packs is constant: packed once, and not in every run."""
    return kernel.packing is not None and node.inputs[kernel.packing.input] in constant


def constant_params(graph: Graph) -> frozenset[Value]:
    """Return the parameters that stay the same from run to run."""
    return frozenset(value for value in graph.params if value not in graph.updates)


def _array(spec: Spec, memory: DeviceMemory) -> Array:
    return memory.allocate(spec.bytes)[: spec.bytes].view(spec.numpy_dtype).reshape(spec.shape)
