"""Right factors of matrix products, packed: [column / TILE_WIDTH][depth, up to whole vectors][TILE_WIDTH].

What is beyond the last column or the depth is zero.
"""

from __future__ import annotations

from edge_sdk.kernels.cpu.gemm import TILE_WIDTH
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.kernels.cpu.simd import LANES, load, load_some, store, zero
from edge_sdk.kernels.cpu.simd_tile import tile, transpose
from edge_sdk.spec import Array


@jit
def transpose_block(x: Array, start: int, stride: int, lines: int, wanted: int, out: Array, to: int, step: int) -> None:
    """out[to + i · step + j] = x[start + j · stride + i] for i < LANES, j < LANES.

    It is zero where j ≥ `lines` or i ≥ `wanted`, and nothing of x beyond those is read.
    """
    block = tile(LANES, 1)
    for j in range(LANES):
        if j < lines:
            block[j, 0] = load(x, start + j * stride) if wanted >= LANES else load_some(x, start + j * stride, wanted)
        else:
            block[j, 0] = zero()
    transpose(block)
    for i in range(LANES):
        store(out, to + i * step, block[i, 0])


@parallel_jit
def pack_columns(x: Array, start: int, columns: int, depth: int, stride: int, packed: Array) -> None:
    """Pack the factor whose element (d, column) is x[start + column · stride + d]: rows of weights (outputs, depth)."""
    panels = (depth + LANES - 1) // LANES
    for task in prange((columns + TILE_WIDTH - 1) // TILE_WIDTH * panels):
        group, p = task // panels, task % panels
        for v in range(0, TILE_WIDTH, LANES):
            column = group * TILE_WIDTH + v
            lines = min(LANES, max(columns - column, 0))
            source, to = start + column * stride + p * LANES, task * LANES * TILE_WIDTH + v
            transpose_block(x, source, stride, lines, depth - p * LANES, packed, to, TILE_WIDTH)


@parallel_jit
def pack_rows(x: Array, starts: Array, rows: int, columns: int, stride: int, packed: Array) -> None:
    """Pack the factor whose element (i · rows + d, column) is x[starts[i] + d · stride + column]."""
    depth = len(starts) * rows
    whole = (depth + LANES - 1) // LANES * LANES
    for group in prange((columns + TILE_WIDTH - 1) // TILE_WIDTH):
        base, width = group * whole * TILE_WIDTH, min(TILE_WIDTH, columns - group * TILE_WIDTH)
        for d in range(whole):
            for v in range(0, TILE_WIDTH, LANES):
                value = zero()
                if d < depth and width > v:
                    source = starts[d // rows] + d % rows * stride + group * TILE_WIDTH + v
                    value = load(x, source) if width >= v + LANES else load_some(x, source, width - v)
                store(packed, base + d * TILE_WIDTH + v, value)
