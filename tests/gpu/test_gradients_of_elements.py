"""Gradients' operators, which the table of operators reaches only by differentiation, against the naive kernels."""

from __future__ import annotations

import numpy as np
import pytest
from gpu.device_calls import call_on_device
from gpu.orders import other_order
from kernel_calls import call_kernel
from op_cases.case import normal

from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.op import Op
from edge_sdk.ops.activation import (
    ActivationGrad,
    GeluGrad,
    HardSigmoidGrad,
    HardSwishGrad,
    LeakyReluGrad,
    LogSoftmaxGrad,
    PReluGrad,
    SigmoidGrad,
    SiluGrad,
    SoftmaxGrad,
    TanhGrad,
)
from edge_sdk.ops.elementwise import AbsGrad, ChosenGrad, ClipGrad
from edge_sdk.spec import Array, Spec

for _device in ("gpu", "reference"):
    load_device(_device)

DY = normal(7, 37, seed=1)
X = np.concatenate([normal(6, 37, seed=2, scale=4), np.resize(np.float32([0, 3, -3, 6, -40, 40]), (1, 37))])
LONG_DY, LONG = normal(3, 1501, seed=3), normal(3, 1501, seed=4)
UNIT = (1 / (1 + np.exp(-X))).astype(np.float32)


def of_softmax(x: Array) -> Array:
    """Results that softmax can have."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True), np.float32)


OPERATORS = [
    (ActivationGrad("relu"), (DY, X)),
    (ActivationGrad("relu6"), (DY, X)),
    (LeakyReluGrad(0.1), (DY, X)),
    (PReluGrad(), (DY, X, normal(37, seed=5))),
    (SigmoidGrad(), (DY, UNIT)),
    (HardSigmoidGrad(), (DY, X)),
    (TanhGrad(), (DY, np.tanh(X))),
    (HardSwishGrad(), (DY, X)),
    (SiluGrad(), (DY, X)),
    (GeluGrad(approximate=False), (DY, X)),
    (GeluGrad(approximate=True), (DY, X)),
    (SoftmaxGrad(), (DY, of_softmax(X))),
    (SoftmaxGrad(), (LONG_DY, of_softmax(LONG))),
    (LogSoftmaxGrad(), (DY, np.log(of_softmax(normal(7, 37, seed=6))))),
    (LogSoftmaxGrad(), (LONG_DY, np.log(of_softmax(LONG)))),
    (AbsGrad(), (DY, X)),
    (ClipGrad(-3.0, 3.0), (DY, X)),
    (ChosenGrad(), (DY, X[:1], np.maximum(X[:1], normal(7, 37, seed=7)))),
]


@pytest.mark.parametrize(("op", "inputs"), OPERATORS, ids=lambda part: part.name if isinstance(part, Op) else None)
def test_a_gradient_equals_that_of_the_naive_kernel(op: Op, inputs: tuple[Array, ...]) -> None:
    """In both orders of threads, at kinks as between them."""
    naive, kernel = (find_kernel(op, device, [Spec(x.shape) for x in inputs]) for device in ("reference", "gpu"))
    assert naive is not None
    assert kernel is not None
    wanted = call_kernel(naive, op, [x.astype(np.float64) for x in inputs])

    outputs = call_on_device(kernel, op, inputs)
    with other_order():
        again = call_on_device(kernel, op, inputs)

    for output, expected, other in zip(outputs, wanted, again, strict=True):
        assert np.max(np.abs(output - expected)) <= 1e-5 * np.max(np.abs(expected))
        assert output.tobytes() == other.tobytes()


@pytest.mark.parametrize("columns", [37, 1501])
def test_the_gradient_of_softmax_in_place(columns: int) -> None:
    """The output may be dy's memory, for rows of a warp and of a block."""
    dy, y = normal(5, columns, seed=8), of_softmax(normal(5, columns, seed=9))
    driver, op = current_driver(), SoftmaxGrad()
    arrays = []
    for content in (dy, y):
        array = driver.allocate(content.nbytes).view(np.float32).reshape(content.shape)
        driver.write(array, content)
        arrays.append(array)
    kernel = find_kernel(op, "gpu", [Spec(dy.shape), Spec(y.shape)])
    assert kernel is not None

    kernel.bind(op, arrays[0], arrays)()

    wanted = y * (dy - (dy.astype(np.float64) * y).sum(axis=-1, keepdims=True))
    assert np.allclose(driver.read(arrays[0]), wanted, rtol=1e-5, atol=1e-7)
