"""Every .cu file goes through NVIDIA's compiler, for every type and generation of GPU: no GPU is needed for that."""

from __future__ import annotations

import pytest

from edge_sdk.kernels.gpu.source import source, source_names

pytestmark = pytest.mark.cuda_sources

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
REAL, STORED = ("float32", "float16", "bfloat16"), ("int8", "int16")
"""The types that sources are written for; those of stored integers begin with `INTEGER`."""
INTEGER = "integer_"
OTHERS = {"integer_lookup": (*STORED, "uint8", "float32")}
"""A table holds whatever is stored or meant."""


def types_of(name: str) -> tuple[str, ...]:
    """What a source is compiled for."""
    return OTHERS.get(name, STORED if name.startswith(INTEGER) else REAL)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in source_names() for dtype in types_of(name)])
def test_it_compiles_without_spills(name: str, dtype: str, architecture: str) -> None:
    """NVRTC makes machine code of it, and no kernel runs out of registers."""
    pytest.importorskip("cupy_backends", reason="CuPy is not installed: pip install cupy-cuda13x and NVIDIA's compiler")
    from edge_sdk.kernels.gpu.nvrtc import compile_source

    compiled = compile_source(source(name, dtype), architecture)

    assert compiled.code
    assert compiled.uses, "the compiler reported on no kernel"
    assert not {kernel: use.spilled_bytes for kernel, use in compiled.uses.items() if use.spilled_bytes}


@pytest.mark.parametrize("name", [name for name in source_names() if name.startswith(INTEGER)])
@pytest.mark.parametrize("dtype", STORED)
def test_no_rounding_of_stored_integers_is_fused_away(name: str, dtype: str) -> None:
    """Products of real numbers are rounded before anything is added to them, as the mobile runtime's are."""
    pytest.importorskip("cupy_backends", reason="CuPy is not installed: pip install cupy-cuda13x and NVIDIA's compiler")
    from edge_sdk.kernels.gpu.nvrtc import compile_source

    ptx = compile_source(source(name, dtype), "sm_90").ptx

    assert ".entry" in ptx
    assert "fma.rn" not in ptx


@pytest.mark.parametrize(("dtype", "instruction"), [("int8", "dp4a.s32.s32"), ("int16", "dp2a.lo.s32.s32")])
def test_products_of_stored_integers_are_made_four_at_a_time(dtype: str, instruction: str) -> None:
    """Both kernels multiply bytes by dp4a, and numbers of 16 bits by dp2a."""
    pytest.importorskip("cupy_backends", reason="CuPy is not installed: pip install cupy-cuda13x and NVIDIA's compiler")
    from edge_sdk.kernels.gpu.nvrtc import compile_source

    bodies = compile_source(source("integer_conv", dtype), "sm_75").ptx.split(".entry")[1:]

    assert len(bodies) == 2
    assert all(body.count(instruction) >= 16 for body in bodies)
