"""Call one kernel by itself, on outputs and scratch full of what must not be read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_sdk.kernel import Kernel, call_arguments
from edge_sdk.op import Op
from edge_sdk.spec import Array, Spec


def _filled(spec: Spec) -> Array:
    return np.full(spec.shape, np.nan if spec.dtype.startswith("float") else -77, spec.numpy_dtype)


def call_kernel(kernel: Kernel, op: Op, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """Return what the kernel makes of the inputs."""
    specs = [Spec(x.shape, x.dtype.name) for x in inputs]
    outputs = tuple(_filled(spec) for spec in op.infer_outputs(specs))
    scratch = [_filled(spec) for spec in kernel.scratch_specs(op, specs)]
    packed = tuple(_filled(spec) for spec in kernel.packed_specs(op, specs))
    if kernel.packing is not None:
        kernel.packing.pack(op, packed, tuple(specs), inputs[kernel.packing.input])
    kernel.function(op, call_arguments(outputs), *inputs, **kernel.keywords(scratch, packed))
    return outputs
