"""Resizing of images."""

from __future__ import annotations

from edge_sdk.converters.onnx.layout import plain
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.ops.resize import Resize
from edge_sdk.spec import Spec

AXES_OPSET = 18
"""From this opset on Resize can be told two sizes only."""


@writes(Resize)
def resize(t: Writing, op: Resize, node: Node) -> None:
    """Resize to a size; before opset 18 that has the batch in it, which is worked out when the file runs."""
    x, y = t.image(node.inputs[0]), t.declare_image(node.output)
    mode, rounding = "half_pixel", "round_prefer_ceil"
    if op.align_corners:
        mode = "align_corners"
    elif not op.half_pixel_centers:
        mode, rounding = "asymmetric", "floor"
    attributes: dict[str, object] = {"coordinate_transformation_mode": mode}
    attributes |= {"mode": "linear"} if op.method == "bilinear" else {"mode": "nearest", "nearest_mode": rounding}
    if not y.spec.symbolic:
        sizes = t.integers(y.shape)
    elif t.opset >= AXES_OPSET:
        sizes, attributes["axes"] = t.integers(op.size), [2, 3]
    else:
        shape, first = (
            t.temporary(f"{y.name}/{name}", plain(1), Spec((n,), "int64")) for name, n in (("shape", 4), ("first", 2))
        )
        sizes = t.temporary(f"{y.name}/sizes", plain(1), Spec((4,), "int64"))
        t.emit("Shape", [x], shape)
        t.emit("Slice", [shape, t.integers((0,)), t.integers((2,)), t.integers((0,))], first)
        t.emit("Concat", [first, t.integers(op.size)], sizes, axis=0)
    t.emit("Resize", [x, None, None, sizes], y, **attributes)
