"""Windows on images in TFLite's terms: SAME, VALID, or padding written out before the operator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_sdk.converters.tflite.lowering import Lowering, Tensor
from edge_sdk.converters.tflite.options import PadOptions, PadV2Options
from edge_sdk.converters.tflite.schema import Builtin, Padding
from edge_sdk.ops.geometry import Padding as GraphPadding
from edge_sdk.ops.geometry import Pair, resolve_padding
from edge_sdk.spec import Spec


@dataclass(frozen=True)
class Window:
    """A window's geometry: TFLite's rule, and the ((top, bottom), (left, right)) pixels to be added before, if any."""

    rule: Padding
    pads: tuple[Pair, Pair] | None = None


def choose_window(
    padding: GraphPadding, size: Pair, output: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)
) -> Window:
    """Return the cheapest form of a padding that gives `output` (height, width) from an image of `size`.

    SAME and VALID do when they start at the same pixel and make as many outputs; what they add at the far end is then
    just what the windows reach. Otherwise the pixels are added first: those of the padding, and those that a last
    partial window (ceil) reaches beyond it.
    """
    pads = resolve_padding(padding, size, kernel, stride, dilation)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    needed = tuple(
        max((count - 1) * s + r - extent - before, 0)
        for count, s, r, extent, (before, _) in zip(output, stride, reach, size, pads, strict=True)
    )
    if all(before == 0 for before, _ in pads) and not any(needed):
        return Window(Padding.VALID)
    same = resolve_padding("same", size, kernel, stride, dilation)
    counts = tuple(-(-extent // s) for extent, s in zip(size, stride, strict=True))
    if counts == output and all(a[0] == b[0] for a, b in zip(pads, same, strict=True)):
        return Window(Padding.SAME)
    return Window(Padding.VALID, ((pads[0][0], needed[0]), (pads[1][0], needed[1])))


def pad_image(t: Lowering, x: Tensor, pads: tuple[Pair, Pair], value: float | None = None) -> Tensor:
    """Write x (n, h, w, c) with pixels added around it: zeros (the zero point when quantized), or a stored value."""
    name = f"{x.name}/padded_{'_'.join(str(n) for pair in pads for n in pair)}"
    n, h, w, c = x.spec.shape
    spec = Spec((n, h + sum(pads[0]), w + sum(pads[1]), c), x.spec.dtype, x.spec.quant)
    y = t.temporary(name if value is None else f"{name}_lowest", spec)
    amounts = t.constant(f"{y.name}/amounts", np.array([(0, 0), *pads, (0, 0)], np.int32))
    if value is None:
        t.emit(Builtin.PAD, [x, amounts], [y], PadOptions())
    else:
        stored = t.constant(f"{y.name}/value", np.array(value, x.spec.numpy_dtype), x.spec.quant)
        t.emit(Builtin.PADV2, [x, amounts, stored], [y], PadV2Options())
    return y
