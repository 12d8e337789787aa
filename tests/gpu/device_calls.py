"""Call one CUDA kernel by itself, on outputs and scratch full of what must not be read, between guards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_sdk.kernel import Kernel, call_arguments
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.emulated_driver import EmulatedDriver
from edge_sdk.op import Op
from edge_sdk.quantization.profile import DEFAULT, Profile
from edge_sdk.spec import FLOATS, Array, Spec, spec_of

GUARD = 512  # bytes before and behind an array
UNTOUCHED = 0xFF


class _Guarded:
    """An array of the device between two guards."""

    def __init__(self, spec: Spec, content: Array | None = None) -> None:
        driver = current_driver()
        self._memory = driver.allocate(spec.bytes + 2 * GUARD)
        driver.write(self._memory, np.full(spec.bytes + 2 * GUARD, UNTOUCHED, np.uint8))
        self.array: Array = self._memory[GUARD : GUARD + spec.bytes].view(spec.numpy_dtype).reshape(spec.shape)
        unwritten = content is None
        if content is None:
            fill = 0x7FC0 if spec.dtype == "bfloat16" else np.nan if spec.dtype in FLOATS else 77
            content = np.full(spec.shape, fill).astype(spec.numpy_dtype)
        if spec.elements:
            driver.write(self.array, content)
            if unwritten and isinstance(driver, EmulatedDriver):
                driver.forget(self.array)

    @property
    def written_outside(self) -> bool:
        guards = (self._memory[:GUARD], self._memory[-GUARD:])
        return any(bool((current_driver().read(guard) != UNTOUCHED).any()) for guard in guards)

    def read(self) -> Array:
        return current_driver().read(self.array)


def call_on_device(
    kernel: Kernel, op: Op, inputs: Sequence[Array], *, specs: Sequence[Spec] = (), results: Sequence[Spec] = (),
    profile: Profile = DEFAULT, in_place: bool = False,
) -> tuple[Array, ...]:  # fmt: skip
    """Return what the kernel makes of the inputs; it must not change them, nor write outside outputs and scratch.

    Stored integers need the specs of inputs and results, which say what they mean. With `in_place` outputs lie in the
    inputs that the operator lets them overwrite.
    """
    specs = list(specs) or [spec_of(x) for x in inputs]
    results = list(results) or list(op.infer_outputs(specs))
    given = [_Guarded(spec, x) for spec, x in zip(specs, inputs, strict=True)]
    outputs = [_Guarded(spec) for spec in results]
    overwritten = _overwritten(op, specs) if in_place else {}
    for output, source in overwritten.items():
        outputs[output] = given[source]
    scratch = [_Guarded(spec) for spec in kernel.scratch_specs(op, specs)]
    packed = [_Guarded(spec) for spec in kernel.packed_specs(op, specs)]
    arrays = [one.array for one in given]

    forms = tuple(one.array for one in packed)
    if kernel.packing is not None:
        kernel.packing.pack(op, forms, tuple(specs), arrays[kernel.packing.input])
    out = call_arguments([one.array for one in outputs])
    keywords = kernel.keywords(tuple(one.array for one in scratch), forms)
    keywords |= kernel.constant_keywords(op, specs, results, profile)
    kernel.bind(op, out, arrays, keywords)()
    current_driver().wait()

    for kind, guarded in (("input", given), ("output", outputs), ("scratch", scratch), ("packed", packed)):
        for index, one in enumerate(guarded):
            assert not one.written_outside, f"{kernel.algorithm} of {op} wrote outside {kind} {index} for {specs}"
    for index, (x, one) in enumerate(zip(inputs, given, strict=True)):
        assert index in overwritten.values() or np.array_equal(x, one.read(), equal_nan=x.dtype.kind == "f"), (
            f"{kernel.algorithm} of {op} changed input {index} for {specs}"
        )
    return tuple(one.read() for one in outputs)


def _overwritten(op: Op, specs: Sequence[Spec]) -> dict[int, int]:
    """Which outputs may lie in which inputs."""
    places = {output: op.overwrites(output) for output in range(len(op.infer_outputs(specs)))}
    return {
        output: source
        for output, source in places.items()
        if source is not None and source < len(specs) and specs[source] == op.infer_outputs(specs)[output]
    }
