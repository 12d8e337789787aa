"""Products on tensor cores go through NVIDIA's compiler, and the instructions they are written for come out of it."""

from __future__ import annotations

import re

import pytest

from edge_sdk.kernels.gpu.products import has_tensor_cores
from edge_sdk.kernels.gpu.source import source

pytestmark = pytest.mark.cuda_sources

INSTRUCTIONS = {
    ("float16", "sm_75"): "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32",
    ("float16", "sm_80"): "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
    ("bfloat16", "sm_80"): "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
    ("float32", "sm_80"): "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
}
"""By dtype and by the first architecture that has them."""
STATIC_SHARED = 48 << 10
ADDING_UP = {"summed", "summed_unrounded"}
"""Kernels without products."""


@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["conv", "linear"])
def test_products_are_made_by_tensor_cores(name: str, dtype: str, architecture: str) -> None:
    """Every product multiplies by mma.sync of its type, copies beside the work from sm_80 on, and spills nothing."""
    pytest.importorskip("cupy_backends", reason="CuPy is not installed: pip install cupy-cuda13x and NVIDIA's compiler")
    from edge_sdk.kernels.gpu.nvrtc import compile_source

    if not has_tensor_cores(architecture, dtype):
        with pytest.raises(RuntimeError, match="need sm_80"):
            compile_source(source(name, dtype, tensor_cores=True), architecture)
        return
    compiled = compile_source(source(name, dtype, tensor_cores=True), architecture)
    assert not {kernel: use.spilled_bytes for kernel, use in compiled.uses.items() if use.spilled_bytes}
    assert max(use.shared_bytes for use in compiled.uses.values()) <= STATIC_SHARED

    bodies = dict(re.findall(r"\.entry (\w+)\((.*?)\n}", compiled.ptx, re.DOTALL))
    products = set(bodies) - ADDING_UP
    old = architecture == "sm_75"
    wanted = INSTRUCTIONS[dtype, "sm_75" if old else "sm_80"]
    assert set(bodies) == set(compiled.uses)
    assert products
    assert all(wanted in bodies[kernel] for kernel in products)
    assert all(("cp.async" in bodies[kernel]) != old for kernel in products)
    assert not any(re.search(r"fma\.rn\.f32", bodies[kernel]) for kernel in products)


@pytest.mark.parametrize("name", ["conv", "linear"])
def test_float32_is_multiplied_exactly_unless_asked(name: str) -> None:
    """Without TF32 no product of float32 is left to tensor cores."""
    pytest.importorskip("cupy_backends", reason="CuPy is not installed: pip install cupy-cuda13x and NVIDIA's compiler")
    from edge_sdk.kernels.gpu.nvrtc import compile_source

    compiled = compile_source(source(name, "float32"), "sm_90")

    assert "mma" not in compiled.ptx
    assert "fma.rn.f32" in compiled.ptx
