"""Kernel sizes, strides and paddings of ONNX's window operators, for any number of spatial axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from edge_sdk.converters.onnx.call import Call
from edge_sdk.ops.geometry import Padding, Pair


@dataclass(frozen=True)
class Windows:
    """One number per spatial axis; `pads` are (before, after)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[Pair, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """Pixels from a window's first to behind its last."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def outputs(self, sizes: tuple[int, ...], *, ceil: bool = False) -> tuple[int, ...]:
        """How many windows there are; with `ceil` also partial ones that start inside the image or before it."""
        counts = []
        for size, stride, reach, (before, after) in zip(sizes, self.strides, self.reach, self.pads, strict=True):
            room = size + before + after - reach
            count = (-(-room // stride) if ceil else room // stride) + 1
            if ceil and (count - 1) * stride >= size + before:
                count -= 1
            counts.append(count)
        return tuple(counts)

    def with_line(self) -> Windows:
        """Windows on a line as windows on an image of one row."""
        if len(self.kernel) != 1:
            return self
        return Windows((1, *self.kernel), (1, *self.strides), (1, *self.dilations), ((0, 0), *self.pads))

    @property
    def padding(self) -> Padding:
        """The engine's padding of images."""
        return "valid" if not any(map(any, self.pads)) else cast(Padding, self.pads)


def pair(numbers: tuple[int, ...]) -> Pair:
    """Two numbers, for rows and columns."""
    rows, columns = numbers
    return rows, columns


def windows(c: Call, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> Windows:
    """The windows that a node's attributes describe on an image of `sizes`."""
    rank = len(sizes)
    strides, dilations = c.integers("strides", (1,) * rank), c.integers("dilations", (1,) * rank)
    pads = c.integers("pads", (0,) * (2 * rank))
    if any(len(each) != rank for each in (kernel, strides, dilations)) or len(pads) != 2 * rank:
        raise c.unsupported(f"kernel {kernel}, strides {strides}, dilations {dilations}, pads {pads} for {rank} axes")
    if min((*kernel, *strides, *dilations), default=1) < 1 or max((*kernel, *strides, *dilations, *pads)) >= 1 << 20:
        raise c.unsupported(f"kernel {kernel}, strides {strides}, dilations {dilations} must be 1 or more")
    if min(pads) < 0:
        raise c.unsupported(f"pads {pads} must be 0 or more")
    found = Windows(kernel, strides, dilations, tuple(zip(pads[:rank], pads[rank:], strict=True)))
    automatic = c.text("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((-(-size // stride) - 1) * stride + reach - size, 0)
            for size, stride, reach in zip(sizes, strides, found.reach, strict=True)
        ]
        smaller = [(total // 2, total - total // 2) for total in totals]
        pairs = smaller if automatic == "SAME_UPPER" else [(after, before) for before, after in smaller]
        return Windows(kernel, strides, dilations, tuple(pairs))
    if automatic == "VALID":
        return Windows(kernel, strides, dilations, ((0, 0),) * rank)
    return found
