"""Rows of the pools: ONNX's pools, and stored outputs of PyTorch where its rounding rules matter."""

from __future__ import annotations

import numpy as np

from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from op_cases.case import Case, normal
from op_cases.onnx_oracle import run_onnx, to_nchw, to_nhwc
from op_cases.torch_oracle import torch_output

X = normal(2, 6, 7, 3)

CASES = [
    Case(
        "max-pool-hand",
        MaxPool2D((2, 2)),
        (np.array([[1, 5, 2], [4, 3, -1], [-7, -8, -9]], np.float32).reshape(1, 3, 3, 1),),
        lambda *_: np.array([[5.0, 5], [4, 3]]).reshape(1, 2, 2, 1),
        differentiable=(0,),
    ),
    Case(
        "max-pool-padding-never-wins",
        MaxPool2D((3, 3), stride=(2, 2), padding=((1, 1), (1, 1))),
        (-np.abs(normal(2, 7, 9, 35)) - 1,),
        lambda x: to_nhwc(run_onnx("MaxPool", to_nchw(x), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])[0]),
        differentiable=(0,),
        symbolic_batch=True,
    ),
    Case(
        "max-pool-same",
        MaxPool2D((3, 2), stride=(2, 1), padding="same"),
        (normal(2, 6, 5, 16),),
        lambda x: to_nhwc(run_onnx("MaxPool", to_nchw(x), kernel_shape=[3, 2], strides=[2, 1], pads=[0, 0, 1, 1])[0]),
        differentiable=(0,),
    ),
    Case(
        "max-pool-ceil",
        MaxPool2D((3, 3), stride=(2, 2), ceil=True),
        (X,),
        lambda *_: torch_output("max_pool_ceil"),
        differentiable=(0,),
    ),
    Case(
        "max-pool-ceil-padded",
        MaxPool2D((2, 3), stride=(3, 3), padding=((1, 1), (1, 1)), ceil=True),
        (X,),
        lambda *_: torch_output("max_pool_ceil_padded"),
        differentiable=(0,),
    ),
    Case(
        "avg-pool",
        AvgPool2D((3, 3), stride=(2, 2)),
        (normal(2, 7, 9, 18),),
        lambda x: to_nhwc(run_onnx("AveragePool", to_nchw(x), kernel_shape=[3, 3], strides=[2, 2])[0]),
        differentiable=(0,),
        symbolic_batch=True,
    ),
    Case(
        "avg-pool-same-hand",
        AvgPool2D((2, 2), padding="same"),
        (np.array([[1, 2], [3, 6]], np.float32).reshape(1, 2, 2, 1),),
        lambda *_: np.array([[3.0, 4.0], [4.5, 6.0]]).reshape(1, 2, 2, 1),
        differentiable=(0,),
    ),
    Case(
        "avg-pool-padding-counted-hand",
        AvgPool2D((2, 2), padding=((0, 1), (0, 1)), count_padding=True),
        (np.array([[1, 2], [3, 6]], np.float32).reshape(1, 2, 2, 1),),
        lambda *_: np.array([[3.0, 2.0], [2.25, 1.5]]).reshape(1, 2, 2, 1),
        differentiable=(0,),
    ),
    Case(
        "avg-pool-ceil",
        AvgPool2D((3, 3), stride=(2, 2), ceil=True),
        (X,),
        lambda *_: torch_output("avg_pool_ceil"),
        differentiable=(0,),
    ),
    Case(
        "avg-pool-ceil-counted",
        AvgPool2D((2, 3), stride=(3, 3), padding=((1, 1), (1, 1)), ceil=True, count_padding=True),
        (X,),
        lambda *_: torch_output("avg_pool_ceil_counted"),
        differentiable=(0,),
    ),
    Case(
        "adaptive-avg-pool",
        AdaptiveAvgPool2D((4, 3)),
        (X,),
        lambda *_: torch_output("adaptive_avg_pool"),
        differentiable=(0,),
        symbolic_batch=True,
    ),
    Case(
        "adaptive-avg-pool-larger",
        AdaptiveAvgPool2D((8, 7)),
        (X,),
        lambda *_: torch_output("adaptive_avg_pool_larger"),
        differentiable=(0,),
    ),
    Case(
        "global-avg-pool",
        GlobalAvgPool(),
        (normal(3, 5, 4, 33),),
        lambda x: run_onnx("GlobalAveragePool", to_nchw(x))[0][:, :, 0, 0],
        differentiable=(0,),
        symbolic_batch=True,
    ),
]
