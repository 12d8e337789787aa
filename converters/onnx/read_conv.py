"""Convolutions."""

from __future__ import annotations

from edge_sdk.converters.onnx.call import Call
from edge_sdk.converters.onnx.layout import Layout, channels_last
from edge_sdk.converters.onnx.reshaping import reshaped
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.converters.onnx.windows import Windows, pair, windows
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.indexing import Gather
from edge_sdk.ops.shape import Pad, Slice
from edge_sdk.spec import BATCH

OUTPUTS_FIRST = Layout((0, 2, 3, 1))
"""Weights (k, c / groups, r, s) held (k, r, s, c / groups)."""
OUTPUTS_LAST = Layout((1, 2, 3, 0))
"""Weights (k, 1, r, s) held (1, r, s, k)."""


@reads("Conv")
def conv(c: Call) -> Tensor:
    """Cross-correlation of images, lines or volumes."""
    x, w, b = c.input(0), c.input(1), c.optional(2)
    if x.rank < 3 or w.rank != x.rank:
        raise c.unsupported(f"x has shape {x.shape}, w {w.shape}; wanted (n, c, …) and (k, c / groups, …)")
    kernel = c.integers("kernel_shape", w.shape[2:])
    if kernel != w.shape[2:]:
        raise c.unsupported(f"kernel_shape is {kernel}, but w has shape {w.shape}")
    found = windows(c, x.shape[2:], kernel)
    bias = () if b is None else (c.plain(b),)
    return convolution(c, x, w, bias, found, c.integer("group", 1))


def convolution(c: Call, x: Tensor, w: Tensor, bias: tuple[Held, ...], found: Windows, groups: int) -> Tensor:
    """The convolution of x (n, c, …) with w (k, c / groups, …)."""
    if x.rank == 3:
        y = image_convolution(c, line_as_image(c, x), line_as_image(c, w), bias, found.with_line(), groups)
        return image_as_line(c, c.tensor(y, channels_last(4)))
    if x.rank == 4:
        return c.tensor(image_convolution(c, x, w, bias, found, groups), channels_last(4))
    if x.rank == 5:
        return _volume_convolution(c, x, w, bias, found, groups)
    raise c.unsupported(f"convolutions of {x.rank - 2} spatial axes")


def line_as_image(c: Call, x: Tensor) -> Tensor:
    """(n, c, l) as (n, c, 1, l)."""
    n, length, channels = Layout((0, 2, 1)).held_shape(x.shape)
    held = c.translation.reshape(c.images(x), (n, 1, length, channels))
    return c.tensor(held, channels_last(4))


def image_as_line(c: Call, y: Tensor) -> Tensor:
    """(n, c, 1, l) as (n, c, l)."""
    n, _, length, channels = y.held_spec.shape
    return c.tensor(c.translation.reshape(y.held, (n, length, channels)), channels_last(3))


def image_convolution(c: Call, x: Tensor, w: Tensor, bias: tuple[Held, ...], found: Windows, groups: int) -> Held:
    """The convolution of images, channels last."""
    stride, dilation = pair(found.strides), pair(found.dilations)
    if groups < 1 or x.shape[1] < 1 or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise c.unsupported(f"x has shape {x.shape} and w {w.shape}, with {groups} groups")
    if groups == x.shape[1] and groups > 1:
        weight = c.translation.hold(w, OUTPUTS_LAST)
        return c.apply(DepthwiseConv2D(stride, found.padding, dilation), c.images(x), weight, *bias)
    weight = c.translation.hold(w, OUTPUTS_FIRST)
    return c.apply(Conv2D(stride, found.padding, dilation, groups), c.images(x), weight, *bias)


def _volume_convolution(c: Call, x: Tensor, w: Tensor, bias: tuple[Held, ...], found: Windows, groups: int) -> Tensor:
    """Σ over the slices of the kernel of the convolution of images, one image for each n and depth."""
    n, _, _, height, width = x.shape
    (count, *_), (stride, *_), (dilation, *_) = found.outputs(x.shape[2:]), found.strides, found.dilations
    if n == BATCH or count < 1:
        raise c.unsupported("volumes need a batch of fixed size that is as deep as the kernel")
    padded = c.apply(Pad(((0, 0), found.pads[0], (0, 0), (0, 0), (0, 0))), c.images(x))
    flat = Windows(found.kernel[1:], found.strides[1:], found.dilations[1:], found.pads[1:])
    total: Held | None = None
    for place in range(found.kernel[0]):
        rows = Constant(c.translation.count(count) * stride + place * dilation)
        images = c.translation.reshape(c.apply(Gather(1), padded, rows), (n * count, height, width, x.shape[1]))
        weights = c.plain(w)
        begin, size = (0, 0, place, 0, 0), (-1, -1, 1, -1, -1)
        plate = c.translation.reshape(c.apply(Slice(begin, size), weights), (*w.shape[:2], *w.shape[3:]))
        y = image_convolution(c, c.tensor(images, channels_last(4)), c.result(plate), bias, flat, groups)
        bias = ()
        total = y if total is None else c.apply(Add(), total, y)
    if total is None:
        raise c.unsupported("a kernel of depth 0")
    _, p, q, k = c.shape(total)
    return c.tensor(c.translation.reshape(total, (n, count, p, q, k)), channels_last(5))


@reads("ConvTranspose")
def conv_transpose(c: Call) -> Tensor:
    """Every pixel adds its multiple of the kernel."""
    x, w, b = c.input(0), c.input(1), c.optional(2)
    if x.rank not in (3, 4) or w.rank != x.rank:
        raise c.unsupported(f"x has shape {x.shape}, w {w.shape}; wanted images or lines")
    rank = x.rank - 2
    kernel = c.integers("kernel_shape", w.shape[2:])
    found = windows(c, (1,) * rank, kernel)
    extra = c.integers("output_padding", (0,) * rank)
    if len(extra) != rank or kernel != w.shape[2:]:
        raise c.unsupported(f"output_padding {extra} and kernel_shape {kernel} for w of shape {w.shape}")
    steps = zip(x.shape[2:], found.strides, found.reach, extra, strict=True)
    full = [(size - 1) * stride + reach + more for size, stride, reach, more in steps]
    pads = found.pads
    automatic = c.text("auto_pad", "NOTSET")
    if c.given("output_shape") or automatic.startswith("SAME"):
        wanted = c.integers("output_shape", [n * s for n, s in zip(x.shape[2:], found.strides, strict=True)])
        pads = tuple(_split(whole - size, automatic) for whole, size in zip(full, wanted[-rank:], strict=True))
    sizes = tuple(whole - before - after for whole, (before, after) in zip(full, pads, strict=True))
    found = Windows(kernel, found.strides, found.dilations, pads)
    if rank == 1:
        x, w = line_as_image(c, x), line_as_image(c, w)
        found, sizes = found.with_line(), (1, *sizes)
    bias = () if b is None else (c.plain(b),)
    y = c.tensor(_transposed(c, x, w, bias, found, sizes, c.integer("group", 1)), channels_last(4))
    return image_as_line(c, y) if rank == 1 else y


def _split(total: int, automatic: str) -> tuple[int, int]:
    """Padding in two halves; the odd pixel goes before, or behind with SAME_UPPER."""
    smaller, larger = total // 2, total - total // 2
    return (smaller, larger) if automatic == "SAME_UPPER" else (larger, smaller)


def _transposed(
    c: Call, x: Tensor, w: Tensor, bias: tuple[Held, ...], found: Windows, sizes: tuple[int, ...], groups: int
) -> Held:
    """The transposed convolution of images, cut or grown to `sizes`."""
    inputs, each = w.shape[:2]
    if min(sizes) < 1 or max(sizes) >= 1 << 20 or groups < 1 or inputs != x.shape[1] or inputs % groups:
        raise c.unsupported(f"x has shape {x.shape} and w {w.shape}, with {groups} groups and outputs {sizes}")
    by_group = reshaped(c, w, (groups, inputs // groups, each, *w.shape[2:]))
    by_output = c.translation.hold(by_group, Layout((0, 2, 3, 4, 1)))
    weight = c.translation.reshape(by_output, (groups * each, *w.shape[2:], inputs // groups))
    before = [max(-first, 0) for first, _ in found.pads]
    cuts, behind = [], []
    for size, n, stride, reach, (first, last), more in zip(
        sizes, x.shape[2:], found.strides, found.reach, found.pads, before, strict=True
    ):
        whole = (n - 1) * stride + reach - max(first, 0) - max(last, 0)
        cuts.append((max(first, 0), max(last, 0)))
        behind.append(max(size - more - whole, 0))
    op = ConvTranspose2D(
        pair(found.strides), (pair(cuts[0]), pair(cuts[1])), pair(found.dilations), groups, pair(tuple(behind))
    )
    if not any(before):
        return c.apply(op, c.images(x), weight, *bias)
    y = c.apply(Pad(((0, 0), *((size, 0) for size in before), (0, 0))), c.apply(op, c.images(x), weight))
    return c.apply(Add(), y, *bias) if bias else y
