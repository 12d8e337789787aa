"""Resizing of images."""

from __future__ import annotations

from edge_sdk.converters.onnx.layout import plain
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.ops.resize import Resize
from edge_sdk.spec import Spec


@writes(Resize)
def resize(t: Writing, op: Resize, node: Node) -> None:
    """Resize to a size, of which an open batch is a part that is worked out when the file runs.

    Opset 18 could name two sizes only, but ONNX Runtime refuses that where the batch is open.
    """
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
    else:
        lengths = {"shape": 4, "first": 2, "sizes": 4}
        shape, first, sizes = (
            t.temporary(f"{y.name}/{name}", plain(1), Spec((length,), "int64")) for name, length in lengths.items()
        )
        t.emit("Shape", [x], shape)
        t.emit("Slice", [shape, t.integers((0,)), t.integers((2,)), t.integers((0,))], first)
        t.emit("Concat", [first, t.integers(op.size)], sizes, axis=0)
    t.emit("Resize", [x, None, None, sizes], y, **attributes)
