"""Batch normalization on the device beyond the table of operators: sizes, gradients, statistics, memory in place."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from gpu.both_orders import worst_error
from gpu.device_calls import call_on_device
from op_cases.case import normal
from op_cases.norm import parameters

from edge_sdk.kernel import Kernel, registered_kernels
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.moments import gather, gathering_scratch
from edge_sdk.ops.geometry import Activation
from edge_sdk.ops.norm import (
    BatchNorm,
    BatchNormGrad,
    BatchNormTraining,
    BatchNormTrainingAgain,
    BatchNormTrainingGrad,
    LocalResponseNormGrad,
)
from edge_sdk.ops.statistics import PARTS, part_bounds
from edge_sdk.spec import Array, Spec

TOLERANCE = 1e-5
SHAPES = [(1, 5), (3, 1), (20011, 1), (2, 70, 71, 3), (4, 30, 31, 64), (7, 3, 1000)]
shapes = pytest.mark.parametrize("shape", [*SHAPES, (0, 2, 2, 4)], ids=str)


def gradient_inputs(shape: tuple[int, ...]) -> tuple[Array, Array, Array, Array, Array]:
    """The slope, x, and its channels' scale, mean and inverse deviation."""
    x = normal(*shape, seed=1) * 2 + 3
    scale = normal(shape[-1], seed=2)
    return normal(*shape), x, scale, np.full_like(scale, 3), np.full_like(scale, 0.5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_training_in_one_pass_equals_statistics_in_two(shape: tuple[int, ...]) -> None:
    """Whatever rows and channels there are, far from zero too, statistics and result are those of float64."""
    x, residual = normal(*shape) + np.float32(20), normal(*shape, seed=3)

    error = worst_error(BatchNormTraining(activation="relu"), (x, *parameters(shape[-1], 4), residual))

    assert error <= 3 * TOLERANCE  # x itself is rounded at 20


@shapes
def test_inference_equals_the_formula(shape: tuple[int, ...]) -> None:
    """The inference form is right for every width of loads, and for no rows."""
    assert worst_error(BatchNorm(), (normal(*shape), *parameters(shape[-1], 5))) <= TOLERANCE


@shapes
def test_gradient_of_inference_equals_the_formula(shape: tuple[int, ...]) -> None:
    """The slopes, and the sums that are gathered on the way, agree with sums in float64."""
    dy, x, scale, mean, inverse = gradient_inputs(shape)

    assert worst_error(BatchNormGrad(1e-5), (dy, x, scale, mean, 1 / inverse**2)) <= TOLERANCE


@shapes
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.filterwarnings("ignore:.*invalid value")
def test_gradient_of_training_equals_the_formula(
    shape: tuple[int, ...], activation: Activation, residual: bool
) -> None:
    """Slopes pass where the activation's argument, or with a residual its result, lies inside."""
    inputs = list(gradient_inputs(shape))
    if activation is not None:
        inputs.append(np.full(shape[-1], 3, np.float32))
        if residual:
            inputs.append(np.clip(normal(*shape, seed=8) * 6, 0, 6))

    assert worst_error(BatchNormTrainingGrad(activation, residual), inputs) <= TOLERANCE


def test_one_far_off_row_does_not_spoil_the_variance() -> None:
    """Deviations are not taken from the first row, which may lie far from all others."""
    x = normal(5000, 8) + np.float32(500)
    x[0] = 0

    assert worst_error(BatchNormTraining(), (x, *parameters(8, 9))) <= TOLERANCE


def test_normalising_again_gives_the_same_bytes() -> None:
    """What training saved suffices to compute its result again, bit for bit."""
    x, (scale, offset, mean, variance) = normal(3, 9, 8, 36), parameters(36, 6)
    first, again = (registered_kernels(op, "gpu")[0] for op in (BatchNormTraining, BatchNormTrainingAgain))

    y, _, _, batch_mean, inverse = call_on_device(first, BatchNormTraining(), (x, scale, offset, mean, variance))
    repeated = call_on_device(again, BatchNormTrainingAgain(), (x, scale, offset, batch_mean, inverse))

    assert repeated[0].tobytes() == y.tobytes()


def test_gradients_may_take_the_memory_of_what_they_are_made_of() -> None:
    """Dx in the memory of x and the residual's gradient in that of dy are what they are elsewhere."""
    op, inputs = BatchNormTrainingGrad(None, residual=True), gradient_inputs((2, 9, 9, 12))
    (found,) = registered_kernels(BatchNormTrainingGrad, "gpu")
    wanted = call_on_device(found, op, inputs)
    given = [_on_device(x) for x in inputs]
    others = [_empty(Spec((12,))) for _ in range(2)]
    scratch = tuple(_empty(spec) for spec in found.scratch_specs(op, [Spec(x.shape) for x in inputs]))

    _run(found, op, (given[1], *others, given[0]), given, scratch)

    assert current_driver().read(given[1]).tobytes() == wanted[0].tobytes()
    assert current_driver().read(given[0]).tobytes() == wanted[3].tobytes()


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (8, 28, 28, 16), (1, 1, 1, 3), (3, 50, 41, 130)], ids=str)
def test_gathered_statistics_are_those_of_each_part(shape: tuple[int, ...]) -> None:
    """Counts, means and squares of the parts that shapes prescribe, zeros where a part is empty."""
    y, spec = normal(*shape) + np.float32(9), Spec(shape)
    bounds, rows = part_bounds(shape[0] * shape[1], shape[2]), y.reshape(-1, shape[-1]).astype(np.float64)
    statistics = _empty(Spec((PARTS, 3, shape[-1])))

    gather(statistics, _on_device(y), _empty(gathering_scratch(spec)))()
    found = current_driver().read(statistics)

    for part, (first, end) in enumerate(pairwise(bounds)):
        inside, (counts, means, squares) = rows[first:end], found[part]
        assert (counts == len(inside)).all()
        if len(inside):
            np.testing.assert_allclose(means, inside.mean(axis=0), rtol=1e-6)
            np.testing.assert_allclose(squares, inside.var(axis=0) * len(inside), rtol=1e-4, atol=1e-4)
        else:
            assert not means.any()
            assert not squares.any()


@pytest.mark.parametrize("channels", [1, 4, 19])
def test_gradient_of_local_response_equals_the_formula(channels: int) -> None:
    """Windows are cut at the first and the last channel."""
    shape = (2, 3, 4, channels)

    assert worst_error(LocalResponseNormGrad(5, 0.5, 0.6, 2.0), (normal(*shape), normal(*shape, seed=1))) <= TOLERANCE


def _empty(spec: Spec) -> Array:
    memory: Array = current_driver().allocate(spec.bytes).view(spec.numpy_dtype).reshape(spec.shape)
    return memory


def _on_device(x: Array) -> Array:
    array = _empty(Spec(x.shape, x.dtype.name))
    current_driver().write(array, x)
    return array


def _run(
    found: Kernel, op: BatchNormTrainingGrad, out: tuple[Array, ...], given: list[Array], scratch: tuple[Array, ...]
) -> None:
    found.bind(op, out, given, found.keywords(scratch, ()))()
    current_driver().wait()
