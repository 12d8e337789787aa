"""What training in 16 bits computes: every operator that it leaves in float16 or bfloat16, and its gradient's.

Rows of the operator table are built as the pass leaves them, with the program backward behind them, and computed node
by node: by every CUDA kernel, and by the naive one in float64 on the same numbers. The difference may be what rounding
the result once makes, and what sums of float32 do:

    |found - wanted| ≤ u · |wanted| + s / 2 + (terms + 8) · 2⁻²⁴ · Σ|terms|

u the unit roundoff of the stored type and s its smallest number (Higham 2002, 3.1); on a GPU, whose tensor cores cut
sums off, 2⁻²³. A library's sum may be rounded once more, before a bias is added to what was stored. Where an operator
is not a sum of products the last part is the table's tolerance for float32, relative to the largest result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from gpu.device_calls import call_on_device
from gpu.devices import error_of_addition
from gpu.orders import other_order
from kernel_calls import call_kernel
from op_cases import CASES
from op_cases.case import Case

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.cost import node_multiply_adds
from edge_sdk.graph import Graph, Node
from edge_sdk.halves import rounded_to, widened
from edge_sdk.kernel import Kernel, applicable_kernels, find_kernel, load_device
from edge_sdk.op import Op
from edge_sdk.ops.conv import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradInputAdded,
    Conv2DGradWeight,
    ConvTranspose2D,
    DepthwiseConv2D,
    DepthwiseConv2DGradInput,
    DepthwiseConv2DGradWeight,
)
from edge_sdk.ops.elementwise import Add, Mul, Sub, SumLike
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.loss_scaling import AcceptUpdates
from edge_sdk.ops.norm import BatchNormTrainingAgain
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AdaptiveAvgPool2DGrad, AvgPool2D, AvgPool2DGrad, GlobalAvgPool
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.ops.shape import Cast
from edge_sdk.ops.statistics import BatchNormTrainingGathered, Conv2DStatistics, DepthwiseConv2DStatistics
from edge_sdk.ops.update import AdamUpdate, GlobalNorm, GroupedUpdate, RMSPropUpdate, SGDUpdate
from edge_sdk.passes.half_precision import DATA_OF_NORMALISATIONS, IN_HALF, LIKE_THEIR_DATA, NORMALISATIONS
from edge_sdk.spec import FLOATS, HALVES, Array, Spec, Value, spec_of

for _device in ("gpu", "reference"):
    load_device(_device)

UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149}
BATCH_NORMS = (*NORMALISATIONS, BatchNormTrainingGathered, BatchNormTrainingAgain)
UPDATES = (SGDUpdate, AdamUpdate, RMSPropUpdate)
BEHIND = (
    Conv2DStatistics,
    DepthwiseConv2DStatistics,
    Conv2DGradInputAdded,
    GlobalNorm,
)  # made by passes that come later, of 16 bits alone
SUMS = (
    Add, Sub, Mul, SumLike, ReduceSum, Linear, MatMul, Conv2D, Conv2DGradInput, Conv2DGradInputAdded,
    Conv2DGradWeight, ConvTranspose2D,
    DepthwiseConv2D, DepthwiseConv2DGradInput, DepthwiseConv2DGradWeight, AvgPool2D, AvgPool2DGrad, AdaptiveAvgPool2D,
    AdaptiveAvgPool2DGrad, GlobalAvgPool,
)  # fmt: skip
"""Sums of products: with the magnitudes of their inputs they give Σ|terms|."""


def is_left_in_half(case: Case) -> bool:
    """Whether the pass, or one that comes behind it, can have the row's operator take 16 bits."""
    known = (*IN_HALF, *LIKE_THEIR_DATA, *BATCH_NORMS, *UPDATES, *BEHIND, GroupedUpdate, AcceptUpdates)
    return isinstance(case.op, known) and any(x.dtype.kind == "f" for x in case.inputs)


def takes_half(op: Op, index: int) -> bool:
    """Whether the operator's input of this number comes in 16 bits."""
    if isinstance(op, GroupedUpdate):
        return index >= op.members.shared and (index - op.members.shared) % op.members.inputs == 1
    if isinstance(op, UPDATES):
        return index == 1
    if isinstance(op, BATCH_NORMS):
        return op.input_names[index] in DATA_OF_NORMALISATIONS
    return not isinstance(op, AcceptUpdates)


def program(case: Case, dtype: str) -> tuple[Graph, dict[Value, Array]]:
    """The row in 16 bits with the program backward, and what it is fed."""
    g, fed = Builder(case.name), {}
    for index, x in enumerate(case.inputs):
        number = x.astype(np.float32) if x.dtype.kind == "f" else x
        narrow = x.dtype.kind == "f" and takes_half(case.op, index)
        array = rounded_to(number, dtype) if narrow else number
        fed[g.input(f"x{index}", spec_of(array))] = array
    inputs = list(g.inputs)
    outputs = g.add_multi(case.op, *inputs)
    wanted = [inputs[index] for index in case.differentiable]
    if wanted and hasattr(type(case.op), "grad") and g.spec(outputs[0]).dtype in FLOATS:
        seed = g.input("dy", g.spec(outputs[0]))
        dy = np.random.default_rng(7).standard_normal(g.spec(seed).shape).astype(np.float32)
        fed[seed] = rounded_to(dy, dtype) if g.spec(seed).dtype in HALVES else dy
        outputs = (*outputs, *gradient(g, outputs[0], wanted, seed))
    return g.build(*dict.fromkeys(outputs)), fed


@pytest.mark.parametrize("dtype", sorted(HALVES))
@pytest.mark.parametrize("case", [case for case in CASES if is_left_in_half(case)], ids=str)
def test_results_are_rounded_once(case: Case, dtype: str) -> None:
    """Forward and backward, threads in both orders: nothing is lost but by rounding what is stored."""
    graph, values = program(case, dtype)

    for node in graph.nodes:
        inputs = [values[value] for value in node.inputs]
        kernels = applicable_kernels(node.op, "gpu", [spec_of(x) for x in inputs])
        assert kernels, f"{node.op} has no CUDA kernel for {[str(spec_of(x)) for x in inputs]}"
        wanted = in_double(node.op, inputs)
        magnitudes = in_double(node.op, inputs, absolute=True) if isinstance(node.op, SUMS) else None
        for found in reversed(kernels):  # the first one's results go on
            outputs = call_on_device(found, node.op, inputs)
            with other_order():
                again = call_on_device(found, node.op, inputs)

            if isinstance(node.op, Conv2DStatistics | DepthwiseConv2DStatistics):
                wanted = (wanted[0], statistics_of(outputs[0]))
            for index, (value, actual, other, exact) in enumerate(
                zip(node.outputs, outputs, again, wanted, strict=True)
            ):
                where = f"{node.op.name} by {found.algorithm}: {value}"
                assert actual.tobytes() == other.tobytes(), f"{where}: the order of threads changes the result"
                assert spec_of(actual) == graph.specs[value]
                if magnitudes is None:
                    computing = np.max(np.abs(exact), initial=0) * case.tolerance
                else:
                    twice = 0 if found.algorithm == node.op.name else UNIT[graph.specs[value].dtype]
                    computing = ((terms(graph, node) + 8) * error_of_addition() + twice) * magnitudes[index]
                assert_rounded_once(actual, exact, computing, where)
                values[value] = actual


def in_double(op: Op, inputs: Sequence[Array], *, absolute: bool = False) -> tuple[Array, ...]:
    """What the naive kernel makes of the same numbers in float64, or of their magnitudes."""
    wide = [widened(x).astype(np.float64) if spec_of(x).dtype in FLOATS else x for x in inputs]
    if absolute:
        wide = [np.abs(x) for x in wide]
        op = Add() if isinstance(op, Add | Sub) else op
        op = replace(op, activation=None) if "activation" in op.attributes() else op
    naive = find_kernel(op, "reference", [spec_of(x) for x in wide])
    assert naive is not None
    if isinstance(op, Cast):  # by what it makes of real numbers
        return (wide[0],)
    return call_kernel(naive, op, wide)


def statistics_of(y: Array) -> Array:
    """The statistics of what was stored, which a batch norm will read: those of y times the unit matrix."""
    unit = np.eye(y.shape[-1]).reshape(y.shape[-1], 1, 1, y.shape[-1])
    op = Conv2DStatistics()
    naive = find_kernel(op, "reference", [Spec(y.shape, "float64"), spec_of(unit)])
    assert naive is not None
    return call_kernel(naive, op, [widened(y).astype(np.float64), unit])[1]


def terms(graph: Graph, node: Node) -> float:
    """How many terms a result is the sum of."""
    elements = max(graph.specs[node.outputs[0]].elements, 1)
    read = sum(graph.specs[value].elements for value in node.inputs)
    return max(node_multiply_adds(graph, node), read) / elements


def assert_rounded_once(actual: Array, exact: Array, computing: float | Array, where: str) -> None:
    """Compare by the model of errors; whole numbers are equal."""
    dtype = spec_of(actual).dtype
    if dtype not in FLOATS:
        np.testing.assert_array_equal(actual, exact, err_msg=where)
        return
    error = np.abs(widened(actual).astype(np.float64) - exact)
    allowed = UNIT[dtype] * np.abs(exact) + SMALLEST[dtype] / 2 + (1 + UNIT[dtype]) * np.asarray(computing)
    worst = float(np.max(error - allowed, initial=-1))
    assert worst <= 0, f"{where}: off by {float(np.max(error, initial=0)):.3g}, {worst:.3g} more than rounding explains"


@pytest.mark.parametrize("dtype", sorted(HALVES))
@pytest.mark.parametrize("source", ["float32", "float64"])
def test_casts_round_to_nearest(source: str, dtype: str) -> None:
    """Ties and numbers beside them, subnormal ones, those beyond the range: to the last bit the host's, both ways."""
    random = np.random.default_rng(0)
    normal = random.standard_normal(2000) * 2.0 ** random.integers(-140, 130, 2000)
    ties = (1 + (2 * random.integers(0, 2**7, 200) + 1) / 2**8) * (1 + random.choice([0, 2.0**-40, -(2.0**-40)], 200))
    with np.errstate(over="ignore"):
        x = np.concatenate([normal, ties, [0.0, -0.0, np.inf, -np.inf, 65519.9, 65520.0, 1e-45]]).astype(source)

    (narrow,) = call_on_device(kernel_of(Cast(dtype), x), Cast(dtype), [x])
    (wide,) = call_on_device(kernel_of(Cast(source), narrow), Cast(source), [narrow])

    assert np.array_equal(narrow, rounded_to(x, dtype))
    assert np.array_equal(wide, widened(narrow).astype(source))


def kernel_of(op: Op, x: Array) -> Kernel:
    """The CUDA kernel for an operator of one input."""
    found = find_kernel(op, "gpu", [spec_of(x)])
    assert found is not None
    return found


def test_bounds_notice_a_sum_in_sixteen_bits() -> None:
    """The model of errors refuses what it is there to refuse: 300 terms that are added up in float16."""
    x = rounded_to(np.full((300,), 0.1, np.float32), "float16")

    short = np.asarray(np.add.accumulate(x, dtype=np.float16)[-1])

    exact = np.asarray(widened(x).astype(np.float64).sum())
    with pytest.raises(AssertionError, match="more than rounding explains"):
        assert_rounded_once(short, exact, 308 * 2.0**-24 * exact, "sum")
    assert_rounded_once(exact.astype(np.float16), exact, 0.0, "sum")


def test_types_that_do_not_fit_are_refused() -> None:
    """An operator's own inference says what came in which type; no kernel ever reads one for the other."""
    from edge_sdk.errors import ShapeError

    image, weight = Spec((1, 4, 4, 2), "bfloat16"), Spec((3, 1, 1, 2))

    with pytest.raises(ShapeError, match=r"conv2d: x is bf16\[1,4,4,2\], w is f32\[3,1,1,2\]; cast them to one type"):
        Conv2D().infer(image, weight)
