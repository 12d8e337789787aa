"""The kernels for processors with narrower vectors than this one's are right, and made for them alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUBSET = "cpu_equals_reference and (conv or linear or matmul or norm or pool or softmax) or winograd or matrix_product"
NARROWER = [pytest.param("haswell", 8, id="AVX2"), pytest.param("nehalem", 4, id="SSE")]


def environment(processor: str) -> dict[str, str]:
    """What names another processor; nothing else may have been said before."""
    kept = {
        k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "NUMBA_CPU_FEATURES", "EDGE_SIMD_LANES")
    }
    return kept | {"NUMBA_CPU_NAME": processor}


@pytest.mark.parametrize(("processor", "lanes"), NARROWER)
def test_a_processor_chooses_its_own_lanes(processor: str, lanes: int) -> None:
    """NUMBA_CPU_NAME alone decides, whatever this machine has, and keeps this machine's instructions out."""
    program = "from edge_sdk.kernels.cpu.simd import LANES; import numba; print(LANES, repr(numba.config.CPU_FEATURES))"

    result = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(processor), capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip

    assert result.stdout.split() == [str(lanes), "''"]


@pytest.mark.lanes
@pytest.mark.parametrize(("processor", "lanes"), NARROWER)
def test_the_operators_are_right_with_fewer_lanes(processor: str, lanes: int) -> None:
    """Convolutions, products, norms and pools, compiled anew for the other processor and run here."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "tests" / "ops"), "-k", SUBSET],
        env=environment(processor), cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip

    assert result.returncode == 0, result.stdout[-4000:]
    assert " passed" in result.stdout
