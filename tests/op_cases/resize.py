"""Rows of resize: ONNX's Resize in the coordinate conventions that TFLite has too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_sdk.ops.resize import Resize
from edge_sdk.spec import Array
from op_cases.case import Case, normal
from op_cases.onnx_oracle import run_onnx, to_nchw, to_nhwc


def _onnx_resize(mode: str, coordinates: str, nearest: str = "floor") -> Callable[..., Callable[[Array], Array]]:
    def to(height: int, width: int) -> Callable[[Array], Array]:
        def oracle(x: Array) -> Array:
            sizes = np.array([x.shape[0], x.shape[3], height, width], np.int64)
            attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
            return to_nhwc(run_onnx("Resize", to_nchw(x), None, None, sizes, **attributes)[0])

        return oracle

    return to


CASES = [
    Case(
        "resize-bilinear-larger",
        Resize((7, 9)),
        (normal(2, 3, 4, 5),),
        _onnx_resize("linear", "half_pixel")(7, 9),
        differentiable=(0,),
        symbolic_batch=True,
    ),
    Case(
        "resize-bilinear-smaller",
        Resize((3, 4)),
        (normal(2, 7, 9, 17),),
        _onnx_resize("linear", "half_pixel")(3, 4),
        differentiable=(0,),
    ),
    Case(
        "resize-bilinear-corners",
        Resize((5, 7), align_corners=True, half_pixel_centers=False),
        (normal(1, 3, 4, 3),),
        _onnx_resize("linear", "align_corners")(5, 7),
        differentiable=(0,),
    ),
    Case(
        "resize-bilinear-top-left",
        Resize((5, 7), half_pixel_centers=False),
        (normal(1, 3, 4, 3),),
        _onnx_resize("linear", "asymmetric")(5, 7),
        differentiable=(0,),
    ),
    Case(
        "resize-bilinear-hand",
        Resize((1, 4)),
        (np.array([0, 8], np.float32).reshape(1, 1, 2, 1),),
        lambda *_: np.array([0.0, 2, 6, 8]).reshape(1, 1, 4, 1),
        differentiable=(0,),
    ),
    Case(
        "resize-nearest-half-pixel",
        Resize((5, 3), method="nearest"),
        (normal(2, 3, 7, 4),),
        _onnx_resize("nearest", "half_pixel", "round_prefer_ceil")(5, 3),
        differentiable=(0,),
        symbolic_batch=True,
    ),
    Case(
        "resize-nearest-top-left",
        Resize((7, 5), method="nearest", half_pixel_centers=False),
        (normal(2, 3, 7, 4),),
        _onnx_resize("nearest", "asymmetric", "floor")(7, 5),
        differentiable=(0,),
    ),
    Case(
        "resize-nearest-corners",
        Resize((7, 4), method="nearest", align_corners=True, half_pixel_centers=False),
        (normal(2, 3, 7, 4),),
        _onnx_resize("nearest", "align_corners", "round_prefer_ceil")(7, 4),
        differentiable=(0,),
    ),
]
