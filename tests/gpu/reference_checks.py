"""Compare the CUDA kernels of one operator with the naive one, on inputs of any type."""

from __future__ import annotations

import numpy as np
from gpu.device_calls import call_on_device
from gpu.orders import other_order
from kernel_calls import call_kernel

from edge_sdk.kernel import applicable_kernels, find_kernel, load_device
from edge_sdk.op import Op
from edge_sdk.spec import Array, Spec

for _device in ("gpu", "reference"):
    load_device(_device)


def assert_like_reference(op: Op, *inputs: Array, tolerance: float = 0.0, magnitude: Array | None = None) -> None:
    """Whatever the order of threads, each kernel computes what the naive one does in float64, up to a tolerance.

    That is a share of the largest number wanted, or, number by number, of a `magnitude`, the sum of all terms' sizes.
    """
    given = [np.ascontiguousarray(x) for x in inputs]
    exact = [x.astype(np.float64) if tolerance and x.dtype.kind == "f" else x for x in given]
    naive = find_kernel(op, "reference", [Spec(x.shape, x.dtype.name) for x in exact])
    assert naive is not None
    wanted = call_kernel(naive, op, exact)
    kernels = applicable_kernels(op, "gpu", [Spec(x.shape, x.dtype.name) for x in given])
    assert kernels

    for kernel in kernels:
        outputs = call_on_device(kernel, op, given)
        with other_order():
            again = call_on_device(kernel, op, given)

        for actual, expected, other in zip(outputs, wanted, again, strict=True):
            assert actual.tobytes() == other.tobytes(), "the order of threads changes the result"
            if tolerance:
                largest = float(np.max(np.abs(expected), initial=0, where=np.isfinite(expected))) or 1.0
                scale = largest if magnitude is None else np.where(magnitude, magnitude, 1)
                np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=tolerance)
            else:
                np.testing.assert_array_equal(actual, expected)
