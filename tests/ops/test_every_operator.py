"""Generated from the table in op_cases/: each row is inferred, computed on every device, differentiated and stored."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import call_kernel
from op_cases import CASES
from op_cases.case import Case

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.kernel import applicable_kernels, has_kernel, load_device
from edge_sdk.op import OPERATORS
from edge_sdk.ops.elementwise import Mul
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.serialize import graph_from_json, graph_to_json
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, Array, Spec, Value
from edge_sdk.workspace import Workspace

DEVICES = ("cpu", "reference")  # tests/gpu has the third

for _device in DEVICES:
    load_device(_device)

rows = pytest.mark.parametrize("case", CASES, ids=str)

# Operators that only a gradient builds are checked through the operator that they are the gradient of.
CHECKED_THROUGH_THEIR_FORWARD = {name for name in OPERATORS if "_grad" in name}


def run_kernels(case: Case, device: str, dtype: type[np.floating]) -> list[tuple[Array, ...]]:
    """Compute the row's operator by every kernel of a device that can."""
    inputs = [np.array(x, dtype if x.dtype.kind == "f" else x.dtype, order="C") for x in case.inputs]
    kernels = applicable_kernels(case.op, device, [Spec(x.shape, x.dtype.name) for x in inputs])
    assert kernels, f"{case.op.name} has no {device} kernel"
    return [call_kernel(kernel, case.op, inputs) for kernel in kernels]


def relative_error(actual: Array, wanted: Array) -> float:
    """Largest difference over the largest wanted magnitude."""
    assert actual.shape == np.shape(wanted), f"shape {actual.shape}, wanted {np.shape(wanted)}"
    if not actual.size:
        return 0.0
    scale = float(np.max(np.abs(wanted))) or 1.0
    return float(np.max(np.abs(actual.astype(np.float64) - wanted))) / scale


@rows
def test_reference_equals_an_independent_oracle(case: Case) -> None:
    """The executable specification agrees with hand values, scipy, onnx or stored outputs."""
    oracle = case.oracle(*(x.astype(np.float64) if x.dtype.kind == "f" else x for x in case.inputs))

    (outputs,) = run_kernels(case, "reference", np.float64)

    wanted = oracle if isinstance(oracle, tuple) else (oracle,)
    for actual, expected in zip(outputs, wanted, strict=False):
        assert relative_error(actual, np.asarray(expected)) <= case.oracle_tolerance


@rows
def test_cpu_equals_reference(case: Case) -> None:
    """The Numba kernels compute what the naive one does."""
    (wanted,) = run_kernels(case, "reference", np.float64)

    for outputs in run_kernels(case, "cpu", np.float32):
        for actual, expected in zip(outputs, wanted, strict=True):
            assert actual.dtype.kind != "f" or actual.dtype == np.float32
            assert relative_error(actual, expected) <= case.tolerance


def _graph(case: Case, dtype: str, *, symbolic: bool = False) -> tuple[Builder, list[Value], tuple[Value, ...]]:
    """A program of the row alone, its inputs x0, x1, …"""
    g = Builder("case")
    values = []
    for i, x in enumerate(case.inputs):
        shape = (BATCH, *x.shape[1:]) if symbolic and i == 0 else x.shape
        values.append(g.input(f"x{i}", Spec(shape, dtype if x.dtype.kind == "f" else x.dtype.name)))
    return g, values, g.add_multi(case.op, *values, name="y")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", [c for c in CASES if c.differentiable], ids=str)
def test_gradient_equals_directional_derivative(case: Case, device: str) -> None:
    """In float64 the gradient along a random direction is the central difference along it; cpu follows reference."""
    rng = np.random.default_rng(7)
    dtype = "float64"
    g, values, outputs = _graph(case, dtype)
    weight = g.input("weight", g.spec(outputs[0]))
    product = g.add(Mul(), outputs[0], weight)
    rank = g.spec(product).rank
    loss = g.add(ReduceSum(axes=tuple(range(rank))), product) if rank else product
    wanted = [values[i] for i in case.differentiable]
    gradients = gradient(g, loss, wanted)
    graph = g.build(loss, *gradients)
    feeds = {f"x{i}": x.astype(np.float64) if x.dtype.kind == "f" else x for i, x in enumerate(case.inputs)}
    feeds["weight"] = rng.standard_normal(graph.specs[weight].shape)
    reference = Session(graph, Workspace(), device="reference")
    exact = reference.run(feeds)

    for index, value in zip(case.differentiable, gradients, strict=True):
        direction = rng.standard_normal(case.inputs[index].shape)
        slope = float(np.sum(exact[value] * direction))
        step = 1e-5
        moved = [
            float(reference.run(feeds | {f"x{index}": feeds[f"x{index}"] + sign * step * direction})[loss])
            for sign in (1, -1)
        ]
        numeric = (moved[0] - moved[1]) / (2 * step)
        scale = max(abs(numeric), float(np.linalg.norm(exact[value]) * np.linalg.norm(direction)) * 1e-2, 1e-3)
        assert abs(slope - numeric) / scale <= 1e-6
    if device == "cpu":
        _check_cpu_gradients(case, exact, gradients, feeds)


def _check_cpu_gradients(case: Case, exact: dict[str, Array], gradients: list[Value], feeds: dict[str, Array]) -> None:
    g, values, outputs = _graph(case, "float32")
    weight = g.input("weight", g.spec(outputs[0]))
    product = g.add(Mul(), outputs[0], weight)
    rank = g.spec(product).rank
    loss = g.add(ReduceSum(axes=tuple(range(rank))), product) if rank else product
    found = gradient(g, loss, [values[i] for i in case.differentiable])
    single = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in feeds.items()}
    result = Session(g.build(*found), Workspace(), device="cpu").run(single)
    for ours, wanted in zip(found, gradients, strict=True):
        assert relative_error(result[ours], exact[wanted]) <= max(case.tolerance, 1e-5)


@rows
def test_json_round_trip(case: Case) -> None:
    """A graph of the row survives its JSON text unchanged."""
    g, _, outputs = _graph(case, "float32", symbolic=case.symbolic_batch)
    graph = g.build(*outputs)

    assert graph_from_json(graph_to_json(graph)) == graph


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operator_has_a_row_and_kernels(name: str) -> None:
    """No operator is declared without kernels for both devices and a row in the table."""
    op = OPERATORS[name]
    if not op.__module__.startswith("edge_sdk."):
        pytest.skip("declared by another test")

    assert all(has_kernel(op, device) for device in DEVICES)
    assert name in CHECKED_THROUGH_THEIR_FORWARD or any(type(case.op) is op for case in CASES)
