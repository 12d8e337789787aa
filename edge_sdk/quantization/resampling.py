"""Which pixels a resized 8-bit image mixes, in whole numbers, by profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.ops.resize import Resize
from edge_sdk.quantization.arithmetic import WIDE
from edge_sdk.quantization.fixed_point import divided
from edge_sdk.quantization.profile import Profile
from edge_sdk.spec import Array, Spec

XNNPACK_BITS, BUILTIN_BITS = 11, 10


@dataclass(frozen=True)
class Mixture:
    """Which two input pixels each output pixel of an axis mixes: positions and weights, (outputs, 2).

    The weights are whole numbers of 1 / 2^bits.
    """

    positions: Array
    weights: Array


@dataclass(frozen=True)
class Mixtures:
    """What rows and columns of a resized image are made of; sums of 2 · bits more places are rounded.

    Halves are rounded upwards, or where `symmetric` away from zero.
    """

    rows: Mixture
    columns: Mixture
    bits: int
    symmetric: bool
    dtype: str = "int8"

    def store(self, total: Array) -> Array:
        """Return the numbers stored for sums of pixels times both weights."""
        bits = 2 * self.bits
        rounded = divided(total, bits) if self.symmetric else (total + (1 << (bits - 1))) >> bits
        return np.asarray(rounded, self.dtype)


def mixtures(op: Resize, inputs: Sequence[Spec], outputs: Sequence[Spec], profile: Profile) -> Mixtures:
    """Return what a resized image is made of."""
    wide = outputs[0].dtype == WIDE  # XNNPACK leaves 16 bits to the builtin kernels
    builtin = (wide or profile != "xnnpack") and op.method == "bilinear"
    along = _whole_mixture if builtin else _mixture
    rows, columns = (along(op, s, t) for s, t in zip(inputs[0].shape[1:3], op.size, strict=True))
    return Mixtures(rows, columns, BUILTIN_BITS if builtin else XNNPACK_BITS, builtin, outputs[0].dtype)


def _mixture(op: Resize, source: int, target: int) -> Mixture:
    index = np.arange(target, dtype=np.float32)
    scale = np.float32((source - 1) / (target - 1) if op.align_corners and target > 1 else source / target)
    exact = (index + np.float32(0.5)) * scale if op.half_pixel_centers else index * scale
    if op.method == "nearest":
        low = np.floor(exact + np.float32(0.5 if op.align_corners else 0))
        part = np.zeros(target)
    else:
        exact = np.clip(exact - np.float32(0.5 if op.half_pixel_centers else 0), 0, source - 1)
        low = np.floor(exact)
        part = np.rint((exact - low) * (1 << XNNPACK_BITS))
    low = np.minimum(low, source - 1).astype(np.int64)
    positions = np.stack([low, np.minimum(low + 1, source - 1)], axis=1)
    return Mixture(positions, np.stack([(1 << XNNPACK_BITS) - part, part], axis=1).astype(np.int64))


def _whole_mixture(op: Resize, source: int, target: int) -> Mixture:
    """The builtin kernels' positions, which are whole numbers of 1 / 2^10 pixels from the scale on."""
    one = 1 << BUILTIN_BITS
    aligned = op.align_corners and target > 1
    extent, steps = (source - 1, target - 1) if aligned else (source, target)
    scale = (one * extent + steps // 2) // steps
    exact = np.arange(target, dtype=np.int64) * scale
    if op.half_pixel_centers:
        exact = exact + scale // 2 - one // 2
    low = np.maximum(exact >> BUILTIN_BITS, 0)  # negative ones become 0
    high = np.minimum(np.maximum((exact + one - 1) >> BUILTIN_BITS, 0), source - 1)
    part = exact - one * low
    return Mixture(np.stack([low, high], axis=1), np.stack([one - part, part], axis=1))
