"""Windows on images: padding rules and output sizes, shared by convolutions and pools."""

from __future__ import annotations

from typing import Literal, TypeAlias

from edge_sdk.errors import ShapeError
from edge_sdk.spec import Spec

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = Literal["same", "valid"] | tuple[tuple[int, int], tuple[int, int]]
"""TensorFlow's "same" and "valid", or explicit ((top, bottom), (left, right)) pixels."""
Activation: TypeAlias = Literal["relu", "relu6"] | None
"""What an operator applies to its result before storing it."""
Precision: TypeAlias = Literal["float32", "bfloat16", "tf32"]
"""To what a kernel may round the factors of products, where it is the faster for it; sums and results stay float32.

TF32 are float32 numbers of 10 bits behind the point instead of 23, which NVIDIA's tensor cores multiply."""


def resolve_padding(padding: Padding, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """Return ((top, bottom), (left, right)) for an image of `size` (height, width).

    "same" makes ceil(size / stride) outputs; of an odd number of padding pixels the extra one comes last
    (TensorFlow, tf.nn.convolution, "Padding").
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding != "same":
        return padding
    pads = []
    for extent, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        reach = (k - 1) * d + 1
        total = max((-(-extent // s) - 1) * s + reach - extent, 0)
        pads.append((total // 2, total - total // 2))
    return pads[0], pads[1]


def output_size(
    name: str, padding: Padding, size: Pair, kernel: Pair, stride: Pair, dilation: Pair, *, ceil: bool = False
) -> Pair:
    """Return the (height, width) of a window operator's output; raises ShapeError when no window fits.

    With `ceil` a last, partial window counts too when it starts inside the image or its leading padding, as in
    PyTorch and Caffe.
    """
    _check_attributes(name, padding, kernel, stride, dilation)
    pads = resolve_padding(padding, size, kernel, stride, dilation)
    result = []
    for extent, k, s, d, (before, after) in zip(size, kernel, stride, dilation, pads, strict=True):
        room = extent + before + after - ((k - 1) * d + 1)
        if room < 0:
            raise ShapeError(
                f"{name}: a window of {(k - 1) * d + 1} pixels does not fit into {extent} + {before} + {after} pixels "
                f"of image and padding (image {size[0]}×{size[1]})"
            )
        count = -(-room // s) + 1 if ceil else room // s + 1
        if ceil and (count - 1) * s >= extent + before:
            count -= 1
        result.append(count)
    return result[0], result[1]


def image_size(name: str, x: Spec) -> Pair:
    """Return the (height, width) of images (n, h, w, c); raises ShapeError for another rank."""
    if x.rank != 4:
        raise ShapeError(f"{name}: x is {x}, wanted images (n, h, w, c)")
    return x.shape[1], x.shape[2]


def _check_attributes(name: str, padding: Padding, kernel: Pair, stride: Pair, dilation: Pair) -> None:
    if min(*kernel, *stride, *dilation) < 1:
        raise ShapeError(f"{name}: kernel {kernel}, stride {stride} and dilation {dilation} must be 1 or more")
    if not isinstance(padding, str) and min(map(min, padding)) < 0:
        raise ShapeError(f"{name}: padding {padding} must be 0 or more")
