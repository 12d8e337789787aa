"""Call one kernel by itself, on outputs and scratch full of what must not be read, between guards it must not write."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_sdk.kernel import Kernel, call_arguments
from edge_sdk.op import Op
from edge_sdk.quantization.profile import DEFAULT
from edge_sdk.spec import Array, Spec

GUARD = 512  # bytes before and behind an array: more than a register tile is wide
UNTOUCHED = 0xFF  # as a byte; as float32 it is no number, so that a value read from a guard shows in the results


class _Guarded:
    """An array between two guards."""

    def __init__(self, spec: Spec) -> None:
        self._memory = np.full(spec.bytes + 2 * GUARD, UNTOUCHED, np.uint8)
        self.array: Array = self._memory[GUARD : GUARD + spec.bytes].view(spec.numpy_dtype).reshape(spec.shape)
        self.array[...] = np.nan if spec.dtype.startswith("float") else 77

    @classmethod
    def copy_of(cls, x: Array) -> _Guarded:
        guarded = cls(Spec(x.shape, x.dtype.name))
        guarded.array[...] = x
        return guarded

    @property
    def written_outside(self) -> bool:
        return bool((self._memory[:GUARD] != UNTOUCHED).any() or (self._memory[-GUARD:] != UNTOUCHED).any())


def call_kernel(kernel: Kernel, op: Op, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """Return what the kernel makes of the inputs; it must not change them, nor write outside outputs and scratch."""
    specs = [Spec(x.shape, x.dtype.name) for x in inputs]
    given = [_Guarded.copy_of(x) for x in inputs]
    outputs = [_Guarded(spec) for spec in op.infer_outputs(specs)]
    scratch = [_Guarded(spec) for spec in kernel.scratch_specs(op, specs)]
    packed = [_Guarded(spec) for spec in kernel.packed_specs(op, specs)]
    arrays = [one.array for one in given]

    forms = tuple(one.array for one in packed)
    if kernel.packing is not None:
        kernel.packing.pack(op, forms, tuple(specs), arrays[kernel.packing.input])
    results = tuple(one.array for one in outputs)
    out = call_arguments(results)
    keywords = kernel.keywords(tuple(one.array for one in scratch), forms)
    keywords |= kernel.constant_keywords(op, specs, op.infer_outputs(specs), DEFAULT)
    kernel.bind(op, out, arrays, keywords)()

    for kind, guarded in (("input", given), ("output", outputs), ("scratch", scratch), ("packed", packed)):
        for index, one in enumerate(guarded):
            assert not one.written_outside, f"{kernel.algorithm} of {op} wrote outside {kind} {index} for {specs}"
    for index, (x, array) in enumerate(zip(inputs, arrays, strict=True)):
        assert np.array_equal(x, array, equal_nan=x.dtype.kind == "f"), (
            f"{kernel.algorithm} of {op} changed input {index} for {specs}"
        )
    return results
