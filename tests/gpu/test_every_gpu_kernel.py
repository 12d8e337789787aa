"""Generated from the table in op_cases/: each row computed by every CUDA kernel that can."""

from __future__ import annotations

import numpy as np
import pytest
from gpu.device_calls import call_on_device
from gpu.exempt import EXEMPT
from gpu.orders import other_order
from kernel_calls import call_kernel
from op_cases import CASES
from op_cases.case import Case

from edge_sdk.kernel import Stored, applicable_kernels, find_kernel, has_kernel, load_device
from edge_sdk.op import OPERATORS
from edge_sdk.spec import Array, Spec

for _device in ("gpu", "reference"):
    load_device(_device)

rows = pytest.mark.parametrize("case", [case for case in CASES if (case.op.name, None) not in EXEMPT], ids=str)


def relative_error(actual: Array, wanted: Array) -> float:
    """Largest difference over the largest wanted magnitude."""
    assert actual.shape == np.shape(wanted), f"shape {actual.shape}, wanted {np.shape(wanted)}"
    if not actual.size:
        return 0.0
    scale = float(np.max(np.abs(wanted))) or 1.0
    return float(np.max(np.abs(actual.astype(np.float64) - wanted))) / scale


@rows
def test_every_kernel_equals_reference(case: Case) -> None:
    """Whatever the order of threads and blocks, a kernel computes what the naive one does, to the last bit the same.

    In the other order it does so in place, where the operator allows that.
    """
    single = [np.array(x, np.float32 if x.dtype.kind == "f" else x.dtype, order="C") for x in case.inputs]
    double = [np.array(x, np.float64 if x.dtype.kind == "f" else x.dtype, order="C") for x in case.inputs]
    naive = find_kernel(case.op, "reference", [Spec(x.shape, x.dtype.name) for x in double])
    assert naive is not None
    wanted = call_kernel(naive, case.op, double)
    kernels = applicable_kernels(case.op, "gpu", [Spec(x.shape, x.dtype.name) for x in single])
    assert kernels, f"{case.op.name} has no gpu kernel for {case.name}"

    for kernel in kernels:
        outputs = call_on_device(kernel, case.op, single)
        with other_order():
            again = call_on_device(kernel, case.op, single, in_place=True)

        for actual, expected, other in zip(outputs, wanted, again, strict=True):
            assert relative_error(actual, expected) <= case.tolerance
            assert actual.tobytes() == other.tobytes(), (
                f"{kernel.algorithm}: the order of threads or the place changes the result"
            )


@pytest.mark.parametrize("stored", [None, "int8", "int16"])
@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operator_has_a_gpu_kernel_or_a_reason(name: str, stored: Stored | None) -> None:
    """What has a naive kernel and no CUDA kernel stands in a table, with its reason, and what has both does not."""
    naive, ours = (has_kernel(OPERATORS[name], device, stored) for device in ("reference", "gpu"))

    assert naive or stored is not None
    assert (naive and not ours) == ((name, stored) in EXEMPT)
    assert naive or not ours
