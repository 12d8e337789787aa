"""The micro-kernels are compiled to what they were written for: tiles of fused multiply-adds that stay in registers."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from assembly import innermost_loops

X86 = platform.machine().lower() in ("x86_64", "amd64")
X86_ONLY = pytest.mark.skipif(not X86, reason="this processor's intermediate code is not x86's")
AVX512_ONLY = pytest.mark.skipif(
    not X86 or not llvm.get_host_cpu_features().get("avx512f"), reason="this processor has no AVX-512"
)

TARGETS = [
    pytest.param({}, [], 16, id="AVX-512", marks=AVX512_ONLY),
    pytest.param({"NUMBA_CPU_NAME": "haswell"}, [], 8, id="AVX2", marks=X86_ONLY),
    pytest.param({"NUMBA_CPU_NAME": "nehalem"}, ["aarch64"], 4, id="NEON", marks=X86_ONLY),
]


@pytest.mark.lanes  # compiled anew for each, since what comes from a cache has no assembly
@pytest.mark.parametrize(("target", "arguments", "lanes"), TARGETS)
def test_tiles_stay_in_registers(target: dict[str, str], arguments: list[str], lanes: int, tmp_path: Path) -> None:
    """Each innermost loop does whole tiles of fused multiply-adds, unrolled or not, and never touches the stack."""
    said = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "EDGE_SIMD_LANES")
    environment = {key: value for key, value in os.environ.items() if key not in said}
    environment |= target | {"EDGE_CACHE": str(tmp_path)}

    result = subprocess.run(
        [sys.executable, str(Path(__file__).parents[1] / "assembly.py"), *arguments],
        env=environment, capture_output=True, text=True, timeout=500, check=True,
    )  # fmt: skip

    report = json.loads(result.stdout)
    assert report["lanes"] == lanes
    for name, tiles in report["tiles"].items():
        loops = report["loops"][name]
        for tile in tiles:
            assert any(loop["fma"] % tile == 0 for loop in loops), f"{name}: no loop does {tile} products: {loops}"
        others = [loop for loop in loops if all(loop["fma"] % tile for tile in tiles)]
        assert not others or name in report["summing"], f"{name}: {others}"
        assert not any(loop["stack"] for loop in loops), f"{name} falls out of registers: {loops}"


def test_a_spill_is_seen() -> None:
    """The reader of assembly counts vectors on the stack, in the innermost loop only."""
    loop = """
.LBB0_1:
    vmovups %zmm9, (%rsp)
.LBB0_2:
    vmovups 64(%rsp), %zmm3
    vmovups (%rbp), %zmm2
    vfmadd231ps %zmm2, %zmm3, %zmm1
    vfmadd231ps 128(%rsp), %zmm3, %zmm0
    jne .LBB0_2
    jg .LBB0_1
"""

    found = innermost_loops(loop, 16)

    assert found == [{"fma": 2, "stack": 2, "instructions": 5}]
