"""Every CUDA kernel on small inputs, for NVIDIA's compute-sanitizer, which looks at each access to memory.

    export PYTHONPATH=tests EDGE_OWN_KERNELS=1
    compute-sanitizer --tool memcheck --error-exitcode 1 python -m gpu.sanitized float32
    compute-sanitizer --tool racecheck --error-exitcode 1 python -m gpu.sanitized float16 bfloat16 training

With "float32", "float16" or "bfloat16" rows of the operator table are computed, forward and backward, two of each
operator; with "training" three steps of a residual network in each precision, the last of which is a captured graph.
Each array is an allocation of its own of exactly its size, without CuPy's pool around it: where a guard lies, reading
too far would not show. What is computed is compared with the naive kernels by other tests.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from gpu import test_half_kernels
from gpu.residual_network import feeds, session_of
from op_cases import CASES
from op_cases.case import Case, normal

from edge_sdk.graph import Graph
from edge_sdk.kernel import Kernel, applicable_kernels, call_arguments, load_device
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D
from edge_sdk.quantization.profile import DEFAULT
from edge_sdk.spec import HALVES, Array, Spec, Value, spec_of

ROWS = 2
"""Of each operator."""
PRECISIONS = ("float32", "tf32", "fp16", "bf16")


def rows(dtype: str) -> Iterator[tuple[Graph, dict[Value, Array]]]:
    """Programs of rows, forward and backward, and what they are fed."""
    seen: Counter[str] = Counter()
    large = Case("many tiles", Conv2D(padding="same"), (normal(2, 33, 30, 24), normal(136, 3, 3, 24)), np.zeros, (0, 1))
    for case in [*CASES, large]:
        if seen[case.op.name] == ROWS or not all(x.size for x in case.inputs):
            continue
        if dtype in HALVES and not test_half_kernels.is_left_in_half(case):
            continue
        seen[case.op.name] += 1
        yield test_half_kernels.program(case, dtype)


def compute(dtype: str) -> int:
    """Call all kernels of all nodes; return how many calls there were."""
    calls = 0
    for graph, values in rows(dtype):
        for node in graph.nodes:
            inputs = [values[value] for value in node.inputs]
            kernels = applicable_kernels(node.op, "gpu", [spec_of(x) for x in inputs])
            for kernel in reversed(kernels):
                outputs = call_bare(kernel, node.op, inputs)
                calls += 1
            values |= dict(zip(node.outputs, outputs, strict=True))
    return calls


def call_bare(kernel: Kernel, op: Op, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """Return what a kernel makes of arrays that lie each in an allocation of its own."""
    driver, specs = current_driver(), [spec_of(x) for x in inputs]
    given, outputs = [on_device(spec) for spec in specs], [on_device(spec) for spec in op.infer_outputs(specs)]
    for array, x in zip(given, inputs, strict=True):
        driver.write(array, x)
    scratch = tuple(map(on_device, kernel.scratch_specs(op, specs)))
    packed = tuple(map(on_device, kernel.packed_specs(op, specs)))
    if kernel.packing is not None:
        kernel.packing.pack(op, packed, tuple(specs), given[kernel.packing.input])
    keywords = kernel.keywords(scratch, packed) | kernel.constant_keywords(op, specs, op.infer_outputs(specs), DEFAULT)
    kernel.bind(op, call_arguments(outputs), given, keywords)()
    driver.wait()
    return tuple(driver.read(array) for array in outputs)


def on_device(spec: Spec) -> Array:
    """Memory for what is described, and no byte more."""
    return current_driver().allocate(spec.bytes).view(spec.numpy_dtype).reshape(spec.shape)


def train() -> int:
    """Take three steps in each precision."""
    for precision in PRECISIONS:
        session = session_of(precision, "gpu")
        for _ in range(3):
            session.run(feeds())
    return 3 * len(PRECISIONS)


def main(names: Sequence[str]) -> None:
    """Compute what is named, everything where nothing is."""
    for device in ("gpu", "reference"):
        load_device(device)
    if current_driver().stream is not None:
        import cupy

        cupy.cuda.set_allocator(None)
    known: dict[str, Callable[[], int]] = {
        "training": train, **{dtype: lambda dtype=dtype: compute(dtype) for dtype in ("float32", *sorted(HALVES))}
    }  # fmt: skip
    for name in names or known:
        print(f"{name}: {known[name]()} calls", flush=True)  # noqa: T201 - a script


if __name__ == "__main__":
    main(sys.argv[1:])
