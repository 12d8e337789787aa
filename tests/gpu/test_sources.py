"""Every .cu file goes through NVIDIA's compiler, for every type and generation of GPU: no GPU is needed for that."""

from __future__ import annotations

import pytest

from edge_sdk.kernels.gpu.source import source, source_names

pytestmark = pytest.mark.cuda_sources

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", source_names())
def test_it_compiles_without_spills(name: str, dtype: str, architecture: str) -> None:
    """NVRTC makes machine code of it, and no kernel runs out of registers."""
    pytest.importorskip("cupy_backends", reason="CuPy is not installed: pip install cupy-cuda13x and NVIDIA's compiler")
    from edge_sdk.kernels.gpu.nvrtc import compile_source

    compiled = compile_source(source(name, dtype), architecture)

    assert compiled.code
    assert compiled.uses, "the compiler reported on no kernel"
    assert not {kernel: use.spilled_bytes for kernel, use in compiled.uses.items() if use.spilled_bytes}
