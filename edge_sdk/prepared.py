"""All that is known of a Session before it takes memory: its kernels, and what lives where."""

from __future__ import annotations

from dataclasses import dataclass

from edge_sdk.autotune import bound_choices
from edge_sdk.errors import GraphError
from edge_sdk.graph import Graph, Node
from edge_sdk.kernel import Choice, applicable_kernels, choose_by_cost, load_device
from edge_sdk.memory_plan import MemoryPlan, plan_memory
from edge_sdk.packed_weights import constant_params, keeps_its_form
from edge_sdk.spec import Spec
from edge_sdk.threads import computing, turn

MEASURED = frozenset({"cpu", "gpu"})
"""Devices with algorithms to choose between, whose times are worth remembering."""
WITHOUT_BFLOAT16 = frozenset({"cpu"})
"""Devices whose kernels would take the bits of bfloat16 for whole numbers."""


@dataclass(frozen=True)
class Prepared:
    """A graph whose batch is bound, the kernel of each node, and the plan of the arena.

    `scratch` and `packed` are what each node needs of the arena beside its outputs: the latter are forms of weights
    that are made in every run. `kept` are forms that are made once, outside the arena.
    """

    graph: Graph
    choices: tuple[Choice, ...]
    scratch: tuple[tuple[Spec, ...], ...]
    packed: tuple[tuple[Spec, ...], ...]
    kept: tuple[Spec, ...]
    memory: MemoryPlan


def prepare(graph: Graph, device: str, threads: int, *, autotune: bool, precise: bool) -> Prepared:
    """Choose a bound graph's kernels and plan its arena; no memory is taken. With `autotune` they are measured.

    Raises:
        GraphError: an operator has no kernel on the device.
        UsageError: the device is unknown.
    """
    load_device(device)
    with computing(threads):  # kernels ask for scratch by the thread
        choices = _choose_kernels(graph, device, threads, autotune=autotune, precise=precise)
        constant = constant_params(graph)
        scratch: list[tuple[Spec, ...]] = []
        packed: list[tuple[Spec, ...]] = []
        kept: list[Spec] = []
        for node, choice in zip(graph.nodes, choices, strict=True):
            inputs = [graph.specs[value] for value in node.inputs]
            scratch.append(choice.kernel.scratch_specs(node.op, inputs))
            forms = choice.kernel.packed_specs(node.op, inputs)
            once = keeps_its_form(node, choice.kernel, constant)
            kept.extend(forms if once else ())
            packed.append(() if once else forms)
    memory = plan_memory(graph, [(*own, *forms) for own, forms in zip(scratch, packed, strict=True)])
    return Prepared(graph, tuple(choices), tuple(scratch), tuple(packed), tuple(kept), memory)


def _choose_kernels(graph: Graph, device: str, threads: int, *, autotune: bool, precise: bool) -> list[Choice]:
    """The kernel of each node: the fastest by estimate, or by time."""
    constant = constant_params(graph)
    absent: dict[str, Node] = {}
    nodes = []
    for node in graph.nodes:
        unchanging = [index for index, value in enumerate(node.inputs) if value in constant]
        inputs = [graph.specs[value] for value in node.inputs]
        candidates = applicable_kernels(node.op, device, inputs, precise)
        if device in WITHOUT_BFLOAT16 and _stores_bfloat16(graph, node):
            candidates = []
        if not candidates:
            absent.setdefault(node.op.name, node)
        nodes.append((node.op, candidates, inputs, unchanging))
    if absent:
        places = ", ".join(f"{name} (node {node.outputs[0]!r})" for name, node in absent.items())
        raise GraphError(
            f"graph {graph.name!r}: no {device} kernel for {places}; declare one with @kernel(…, {device!r})"
        )
    if autotune and device in MEASURED:
        with turn(threads, alone=True):  # times are honest when nothing else runs
            return bound_choices(nodes, device)
    return [choose_by_cost(candidates, op, inputs, unchanging) for op, candidates, inputs, unchanging in nodes]


def _stores_bfloat16(graph: Graph, node: Node) -> bool:
    return any(graph.specs[value].dtype == "bfloat16" for value in (*node.inputs, *node.outputs))
