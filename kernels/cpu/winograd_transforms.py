"""The transforms of Winograd's convolution F(4×4, 3×3) (Lavin and Gray 2016, arXiv:1509.09308), on vectors of channels.

Each 4×4 block of outputs needs a 6×6 block of inputs. After fixed linear transforms of inputs and weights the 36
positions are 36 independent products, with 36 multiplications where the direct convolution needs 144. A gradient is the
same with the transposed transforms. `…_1d` work along one axis; the others apply
them to columns, then to rows.
"""

from __future__ import annotations

from typing import Any

from edge_sdk.kernels.cpu.jit import jit
from edge_sdk.kernels.cpu.simd import load, store
from edge_sdk.kernels.cpu.simd_tile import tile
from edge_sdk.spec import Array

BLOCK = 4  # outputs a block, along each axis
SEEN = 6  # inputs a block
POSITIONS = SEEN * SEEN


@jit
def _input_1d(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any) -> Any:
    even, odd = d4 - 4 * d2, d3 - 4 * d1
    near, far = d4 - d2, 2 * (d3 - d1)
    return 4 * d0 - 5 * d2 + d4, even + odd, even - odd, near + far, near - far, 4 * d1 - 5 * d3 + d5


@jit
def _output_1d(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any) -> Any:
    s, d, p, q = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return m0 + s + p, d + 2 * q, s + 4 * p, d + 8 * q + m5


@jit
def _weight_1d(g0: Any, g1: Any, g2: Any) -> Any:
    s, t = g0 + g2, g0 + 4 * g2
    return (
        (1 / 4) * g0, (-1 / 6) * (s + g1), (-1 / 6) * (s - g1), (1 / 24) * (t + 2 * g1), (1 / 24) * (t - 2 * g1), g2,
    )  # fmt: skip


@jit
def _output_gradient_1d(g0: Any, g1: Any, g2: Any, g3: Any) -> Any:
    s, d, p, q = g0 + g2, g1 + g3, g0 + 4 * g2, 2 * g1 + 8 * g3
    return g0, s + d, s - d, p + q, p - q, g3


@jit
def _weight_gradient_1d(u0: Any, u1: Any, u2: Any, u3: Any, u4: Any, u5: Any) -> Any:
    s, p = (1 / 6) * (u1 + u2), u3 + u4
    return (1 / 4) * u0 - s + (1 / 24) * p, (1 / 6) * (u2 - u1) + (1 / 12) * (u3 - u4), (1 / 6) * p - s + u5


@jit
def _store_row(values: Any, out: Array, to: int, step: int) -> None:
    """Store six vectors, `step` elements apart."""
    v0, v1, v2, v3, v4, v5 = values
    store(out, to, v0)
    store(out, to + step, v1)
    store(out, to + 2 * step, v2)
    store(out, to + 3 * step, v3)
    store(out, to + 4 * step, v4)
    store(out, to + 5 * step, v5)


@jit
def transform_input(x: Array, first: int, row: int, pixel: int, out: Array, to: int, step: int) -> None:
    """6×6 pixels at x[first + i · row + j · pixel] → 36 positions, `step` elements apart."""
    half = tile(6, 6)
    for j in range(6):
        p = first + j * pixel
        half[0, j], half[1, j], half[2, j], half[3, j], half[4, j], half[5, j] = _input_1d(
            load(x, p), load(x, p + row), load(x, p + 2 * row),
            load(x, p + 3 * row), load(x, p + 4 * row), load(x, p + 5 * row),
        )  # fmt: skip
    for i in range(6):
        values = _input_1d(half[i, 0], half[i, 1], half[i, 2], half[i, 3], half[i, 4], half[i, 5])
        _store_row(values, out, to + 6 * i * step, step)


@jit
def transform_output(m: Array, first: int, step: int, half: Any, block: Any) -> None:
    """36 positions → a tile of 4×4 outputs; `half` is a free tile of 4×6."""
    for j in range(6):
        p = first + j * step
        half[0, j], half[1, j], half[2, j], half[3, j] = _output_1d(
            load(m, p), load(m, p + 6 * step), load(m, p + 12 * step),
            load(m, p + 18 * step), load(m, p + 24 * step), load(m, p + 30 * step),
        )  # fmt: skip
    for i in range(4):
        block[i, 0], block[i, 1], block[i, 2], block[i, 3] = _output_1d(
            half[i, 0], half[i, 1], half[i, 2], half[i, 3], half[i, 4], half[i, 5]
        )


@jit
def transform_output_gradient(g: Array, first: int, row: int, pixel: int, out: Array, to: int, step: int) -> None:
    """4×4 slopes at g[first + i · row + j · pixel] → 36 positions, `step` elements apart."""
    half = tile(6, 4)
    for j in range(4):
        p = first + j * pixel
        half[0, j], half[1, j], half[2, j], half[3, j], half[4, j], half[5, j] = _output_gradient_1d(
            load(g, p), load(g, p + row), load(g, p + 2 * row), load(g, p + 3 * row)
        )
    for i in range(6):
        _store_row(_output_gradient_1d(half[i, 0], half[i, 1], half[i, 2], half[i, 3]), out, to + 6 * i * step, step)


@jit
def transform_weight(w: Array, first: int, row: int, tap: int, out: Array, to: int, step: int) -> None:
    """3×3 taps at w[first + i · row + j · tap] → 36 positions, `step` elements apart."""
    half = tile(6, 3)
    for j in range(3):
        p = first + j * tap
        half[0, j], half[1, j], half[2, j], half[3, j], half[4, j], half[5, j] = _weight_1d(
            load(w, p), load(w, p + row), load(w, p + 2 * row)
        )
    for i in range(6):
        _store_row(_weight_1d(half[i, 0], half[i, 1], half[i, 2]), out, to + 6 * i * step, step)


@jit
def transform_weight_gradient(u: Array, first: int, step: int, out: Array, to: int, tap: int) -> None:
    """36 positions → the gradient of 3×3 taps, `tap` elements apart."""
    half = tile(3, 6)
    for j in range(6):
        p = first + j * step
        half[0, j], half[1, j], half[2, j] = _weight_gradient_1d(
            load(u, p), load(u, p + 6 * step), load(u, p + 12 * step),
            load(u, p + 18 * step), load(u, p + 24 * step), load(u, p + 30 * step),
        )  # fmt: skip
    for i in range(3):
        r0, r1, r2 = _weight_gradient_1d(half[i, 0], half[i, 1], half[i, 2], half[i, 3], half[i, 4], half[i, 5])
        store(out, to + 3 * i * tap, r0)
        store(out, to + (3 * i + 1) * tap, r1)
        store(out, to + (3 * i + 2) * tap, r2)
