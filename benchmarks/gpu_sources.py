"""Compile all CUDA sources for a GPU ahead of its use, by all processors, into the cache folder; no GPU is needed.

    EDGE_CACHE=cache python -m benchmarks.gpu_sources sm_90

What has been compiled is found by the same version of NVIDIA's compiler alone, which is printed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

import click

from edge_sdk.kernels.gpu.nvrtc import compiler_version, machine_code
from edge_sdk.kernels.gpu.products import has_tensor_cores
from edge_sdk.kernels.gpu.source import Source, source, source_names

REAL = ("float32", "float16", "bfloat16")
WHOLE = ("int32", "int64", "int8", "uint8", "bool")
OF_WHOLE_NUMBERS = ("control", "elementwise", "functions", "indexing", "logic", "shape", "cast", "transpose", "reduce")
"""Sources that are compiled for whole numbers too."""
PRODUCTS = ("conv", "linear")


def sources(architecture: str) -> Iterator[Source]:
    """Yield what networks and tests use most; what is left out is compiled when it is needed."""
    for name in PRODUCTS:  # the longest first
        yield from (source(name, dtype, tensor_cores=True) for dtype in REAL if has_tensor_cores(architecture, dtype))
    for name in source_names():
        yield from (source(name, dtype) for dtype in REAL)
    for name in OF_WHOLE_NUMBERS:
        yield from (source(name, dtype) for dtype in WHOLE)


@click.command(help=__doc__)
@click.argument("architecture")
def main(architecture: str) -> None:
    """Compile, print."""
    start = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        made = {pool.submit(machine_code, one, architecture): one for one in sources(architecture)}
        for future in as_completed(made):
            if error := future.exception():
                one = made[future]
                print(f"{one.name} for {one.dtype}: {str(error).partition(chr(10))[0]}", flush=True)
    print(f"{len(made)} sources for {architecture} by NVRTC {compiler_version()}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
