"""Gradients by CUDA kernels: every differentiable row of the operator table, along a random direction and in full."""

from __future__ import annotations

import numpy as np
import pytest
from op_cases import CASES
from op_cases.case import Case

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.graph import Graph
from edge_sdk.ops.elementwise import Mul
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.session import Session
from edge_sdk.spec import Array, Spec
from edge_sdk.workspace import Workspace

STEP = 1e-5
NUMERIC_ERROR = 1e-6
"""Of a central difference in float64, as tests/ops has it."""


def program(case: Case, dtype: str) -> tuple[Graph, list[str]]:
    """The row, its result weighted and summed up, and the gradients of that sum."""
    g, values = Builder("case"), []
    for index, x in enumerate(case.inputs):
        values.append(g.input(f"x{index}", Spec(x.shape, dtype if x.dtype.kind == "f" else x.dtype.name)))
    outputs = g.add_multi(case.op, *values)
    product = g.add(Mul(), outputs[0], g.input("weight", g.spec(outputs[0])))
    rank = g.spec(product).rank
    loss = g.add(ReduceSum(axes=tuple(range(rank))), product) if rank else product
    gradients = gradient(g, loss, [values[index] for index in case.differentiable])
    return g.build(loss, *gradients), [str(value) for value in (loss, *gradients)]


def feeds_of(case: Case, graph: Graph, random: np.random.Generator) -> dict[str, Array]:
    """The row's inputs and random weights, in float64."""
    feeds = {f"x{i}": x.astype(np.float64) if x.dtype.kind == "f" else x for i, x in enumerate(case.inputs)}
    (weight,) = [value for value in graph.inputs if value == "weight"]
    return feeds | {"weight": random.standard_normal(graph.specs[weight].shape)}


@pytest.mark.parametrize("case", [case for case in CASES if case.differentiable], ids=str)
def test_a_gradient_is_the_slope_along_any_direction(case: Case) -> None:
    """Σ gradient · direction is the central difference of the naive kernels in float64, up to float32's rounding."""
    random = np.random.default_rng(7)
    exact_graph, names = program(case, "float64")
    graph, own_names = program(case, "float32")
    feeds = feeds_of(case, exact_graph, random)
    naive = Session(exact_graph, Workspace(), device="reference")
    exact = naive.run(feeds)
    single = {name: x.astype(np.float32) if x.dtype == np.float64 else x for name, x in feeds.items()}
    allowed = max(case.tolerance, 1e-5)

    found = Session(graph, Workspace(), device="gpu").run(single)

    for index, wanted, name in zip(case.differentiable, names[1:], own_names[1:], strict=True):
        direction = random.standard_normal(case.inputs[index].shape)
        ahead, behind = (
            float(naive.run(feeds | {f"x{index}": feeds[f"x{index}"] + sign * STEP * direction})[names[0]])
            for sign in (1, -1)
        )
        numeric = (ahead - behind) / (2 * STEP)
        slope = float(np.sum(found[name].astype(np.float64) * direction))
        largest = float(np.max(np.abs(exact[wanted]), initial=0))
        rounding = allowed * largest * float(np.abs(direction).sum())
        numeric_scale = max(abs(numeric), float(np.linalg.norm(exact[wanted]) * np.linalg.norm(direction)) * 1e-2, 1e-3)
        assert abs(slope - numeric) <= rounding + NUMERIC_ERROR * numeric_scale
        assert float(np.max(np.abs(found[name] - exact[wanted]), initial=0)) <= allowed * (largest or 1)
