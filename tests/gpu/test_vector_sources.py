"""What is bound by memory loads and stores several numbers at once, in 32 bits and in 16."""

from __future__ import annotations

import re
from functools import cache

import pytest

from edge_sdk.kernels.gpu.source import source

pytestmark = pytest.mark.cuda_sources

HOT = [  # the source, the kernel, how many loads of several numbers it has at least, and whether it stores so
    ("activation", "relu", 2, True),
    ("activation", "relu6_grad", 4, True),
    ("column_sums", "column_sums_4", 4, False),
    ("elementwise", "add", 4, True),
    ("finish", "finished_packs", 4, True),
    ("pixels", "normalise_pixels", 1, True),
    ("moments", "moments_4", 4, False),
    ("norm", "batch_norm_4", 2, True),
    ("norm", "normalise_4", 4, True),
    ("norm", "gradient_sums_4", 6, True),
    ("norm", "input_gradient_4", 4, True),
    ("pool", "max_pool_wide", 1, True),
    ("pool", "choose_bytes_wide", 1, True),
    ("pool", "largest_grad_bytes_wide", 2, True),
    ("pool", "average_pool_grad_wide", 1, True),
    ("update", "sgd", 3, True),
    ("update", "adam", 4, True),
    ("update", "squares", 1, False),
    *[("depthwise_strip", f"depthwise_conv2d_{w}_{s}", 3 * s + 2 * w, True) for w in (3, 5) for s in (1, 2)],
    *[("depthwise_strip", f"depthwise_conv2d_grad_input_{w}_{s}", 5, True) for w in (3, 5) for s in (1, 2)],
    *[
        ("depthwise_weight", f"depthwise_conv2d_grad_weight_{w}_{s}", 4 + 3 * s + w, False)
        for w in (3, 5)
        for s in (1, 2)
    ],
]


@cache
def ptx_of(name: str, dtype: str) -> str:
    """What the compiler makes of a source, for all kernels in it at once."""
    from edge_sdk.kernels.gpu.nvrtc import compile_source

    return compile_source(source(name, dtype), "sm_80").ptx


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("row", HOT, ids=lambda row: row[1])
def test_several_numbers_at_once(row: tuple[str, str, int, bool], dtype: str) -> None:
    """The compiler made vector instructions of packs, as many as stand in the loops, and no array went to memory."""
    pytest.importorskip("cupy_backends", reason="CuPy is not installed: pip install cupy-cuda13x and NVIDIA's compiler")
    name, kernel, loads, stores = row
    found = re.search(rf"\.entry {kernel}\((.*?)\n}}", ptx_of(name, dtype), re.DOTALL)

    assert found
    assert len(re.findall(r"\bld(?:\.global)?\.v4\.", found.group(1))) >= loads
    assert bool(re.search(r"\bst(?:\.global)?\.v4\.", found.group(1))) >= stores
    assert ".local" not in found.group(1)
