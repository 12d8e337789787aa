"""Compare a CUDA kernel with the naive one in float64, its threads run in both orders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gpu.device_calls import call_on_device
from gpu.orders import other_order
from kernel_calls import call_kernel

from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.op import Op
from edge_sdk.spec import Array, Spec

for _device in ("gpu", "reference"):
    load_device(_device)


def worst_error(op: Op, inputs: Sequence[Array]) -> float:
    """Return the largest difference of any output, relative to its largest wanted magnitude.

    Both orders of threads must give the same bytes.
    """
    wide = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in inputs]
    naive = find_kernel(op, "reference", [Spec(x.shape, x.dtype.name) for x in wide])
    found = find_kernel(op, "gpu", [Spec(x.shape, x.dtype.name) for x in inputs])
    assert naive is not None
    assert found is not None

    wanted, outputs = call_kernel(naive, op, wide), call_on_device(found, op, inputs)
    with other_order():
        again = call_on_device(found, op, inputs)

    for one, other in zip(outputs, again, strict=True):
        assert one.tobytes() == other.tobytes(), f"{op}: the order of threads changes the result"
    return max(_error(one, right) for one, right in zip(outputs, wanted, strict=True))


def _error(actual: Array, wanted: Array) -> float:
    assert np.array_equal(np.isnan(actual), np.isnan(wanted)), "not a number elsewhere than wanted"
    if not actual.size or np.isnan(wanted).all():
        return 0.0
    scale = float(np.nanmax(np.abs(wanted))) or 1.0
    return float(np.nanmax(np.abs(np.subtract(actual, wanted, dtype=np.float64)))) / scale
