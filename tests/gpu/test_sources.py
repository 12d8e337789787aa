"""Every .cu file goes through NVIDIA's compiler, for every type and generation of GPU: no GPU is needed for that."""

from __future__ import annotations

import pytest

from edge_sdk.kernels.gpu.source import source, source_names

pytestmark = pytest.mark.cuda_sources

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
REAL, STORED = ("float32", "float16", "bfloat16"), ("int8", "int16")
"""The types that sources are written for; those of stored integers begin with `INTEGER`."""
INTEGER = "integer_"
TENSOR_CORES = "integer_tensor_conv"
OTHERS = {"integer_lookup": (*STORED, "uint8", "float32"), "integer_weights": ("int8",), TENSOR_CORES: ("int8",)}
"""A table holds whatever is stored or meant; weights are bytes, and so is what tensor cores multiply."""


def types_of(name: str) -> tuple[str, ...]:
    """What a source is compiled for."""
    return OTHERS.get(name, STORED if name.startswith(INTEGER) else REAL)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in source_names() for dtype in types_of(name)])
def test_it_compiles_without_spills(name: str, dtype: str, architecture: str) -> None:
    """NVRTC makes machine code of it, and no kernel runs out of registers."""
    pytest.importorskip("cupy_backends", reason="CuPy is not installed: pip install cupy-cuda13x and NVIDIA's compiler")
    from edge_sdk.kernels.gpu.nvrtc import compile_source

    if (name, architecture) == (TENSOR_CORES, "sm_75"):
        with pytest.raises(RuntimeError, match="need sm_80"):
            compile_source(source(name, dtype), architecture)
        return
    compiled = compile_source(source(name, dtype), architecture)

    assert compiled.code
    assert compiled.uses, "the compiler reported on no kernel"
    assert not {kernel: use.spilled_bytes for kernel, use in compiled.uses.items() if use.spilled_bytes}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in source_names() if name.startswith(INTEGER) for dtype in types_of(name)],
)
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


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_whole_chunks_of_int8_are_multiplied_by_tensor_cores(architecture: str) -> None:
    """By mma.sync of bytes, out of a ring that copies fill, in 48 KiB of shared memory and 128 registers at most."""
    pytest.importorskip("cupy_backends", reason="CuPy is not installed: pip install cupy-cuda13x and NVIDIA's compiler")
    from edge_sdk.kernels.gpu.nvrtc import compile_source

    compiled = compile_source(source(TENSOR_CORES, "int8"), architecture)

    assert {use.shared_bytes for use in compiled.uses.values()} == {24 << 10, 48 << 10}
    assert max(use.registers for use in compiled.uses.values()) <= 128
    bodies = compiled.ptx.split(".entry")[1:]
    assert len(bodies) == 2
    assert all("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32" in body and "cp.async" in body for body in bodies)
