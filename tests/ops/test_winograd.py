"""3×3 convolutions by Winograd's algorithm: near the direct sums, at every edge of an image."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import call_kernel

from edge_sdk.kernel import applicable_kernels, load_device
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput, Conv2DGradWeight
from edge_sdk.ops.geometry import Padding
from edge_sdk.spec import Array, Spec

# Of the largest result: F(4×4, 3×3) rounds more than a direct sum does, F(2×2, 3×3) does not.
BOUNDS = {"winograd 4x4": 5e-5, "winograd 2x2": 2e-6}

SHAPES = [
    pytest.param((2, 9, 11, 32), 64, ((1, 1), (1, 1)), id="odd-size"),
    pytest.param((1, 7, 7, 64), 32, "same", id="few-blocks"),
    pytest.param((3, 5, 6, 32), 32, "valid", id="no-padding"),
    pytest.param((2, 13, 8, 96), 32, ((2, 0), (0, 3)), id="uneven-padding"),
    pytest.param((1, 3, 3, 32), 32, ((3, 3), (4, 4)), id="padding-wider-than-the-kernel"),
    pytest.param((2, 40, 44, 32), 32, "same", id="several-slices"),
]


def compute(op: Op, device: str, algorithm: str, *arrays: Array) -> Array:
    """Run one operator by the algorithm of that name."""
    load_device(device)
    kernels = applicable_kernels(op, device, [Spec(a.shape, a.dtype.name) for a in arrays])
    (chosen,) = [kernel for kernel in kernels if kernel.algorithm == algorithm]
    return call_kernel(chosen, op, arrays)[0]


@pytest.mark.parametrize("algorithm", BOUNDS)
@pytest.mark.parametrize(("shape", "outputs", "padding"), SHAPES)
def test_winograd_is_near_the_direct_sums(
    shape: tuple[int, ...], outputs: int, padding: Padding, algorithm: str
) -> None:
    """Forward with bias, residual and relu, and the gradients, against the naive kernels in float64."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, np.float32)
    w = rng.standard_normal((outputs, 3, 3, shape[3]), np.float32)
    b = rng.standard_normal(outputs, np.float32)
    forward = Conv2D(padding=padding, activation="relu")
    dy = rng.standard_normal(forward.infer(Spec(x.shape), Spec(w.shape)).shape, np.float32)
    geometry = ((1, 1), padding, (1, 1), 1)
    cases: list[tuple[Op, tuple[Array, ...]]] = [
        (forward, (x, w, b)),
        (forward, (x, w, b, rng.standard_normal(dy.shape, np.float32))),
        (Conv2DGradInput(*geometry, (shape[1], shape[2])), (dy, w)),
    ]
    if algorithm == "winograd 4x4":  # a weight gradient is summed directly where precision is asked for
        cases.append((Conv2DGradWeight(*geometry, (3, 3)), (dy, x)))
    for op, arrays in cases:
        result = compute(op, "cpu", algorithm, *arrays)
        wanted = compute(op, "reference", op.name, *(a.astype(np.float64) for a in arrays))

        assert np.abs(result - wanted).max() <= BOUNDS[algorithm] * np.abs(wanted).max()
