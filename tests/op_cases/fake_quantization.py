"""Rows of the family fake_quantization: closed forms by hand, and what PyTorch computes.

The gradients are none of the function, which is a staircase: they have rows of their own.
"""

from __future__ import annotations

import numpy as np

from edge_sdk.ops.fake_quantization import FakeQuantize, FakeQuantizeGrad, FakeQuantizeLearnedGrad, SymmetricScale
from op_cases.case import Case, normal
from op_cases.torch_oracle import torch_output

X, DY = normal(4, 3, 5, seed=51), normal(4, 3, 5, seed=52)
ALL = (np.array(0.05, np.float32), np.array(3, np.int32))
CHANNELS = (np.array([0.05, 0.25, 0.125], np.float32), np.array([3, -1, 2], np.int32))
HALF, TWO = np.array(0.5, np.float32), np.array(2, np.int32)
# Both sides of every border, halves among them: stored as -3 … 4 with zero point 2, so steps of -5 … 2.
BORDERS = np.array([-9.0, -2.8, -2.75, -2.5, -0.25, 0.0, 0.2, 0.25, 0.74, 0.75, 1.0, 1.2, 1.25, 1.26, 1e9], np.float32)
ROUNDED = [-2.5, -2.5, -2.5, -2.5, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
INSIDE = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0], np.float64)
SLOPES = np.array([-5, -5, -5, 0, 0.5, 0, -0.4, -0.5, -0.48, 0.5, 0, -0.4, -0.5, 2, 2])
LONG, LONG_DY = normal(40_001, seed=53), normal(40_001, seed=54)


def learned(dy, x, scale, zero):
    """Section 2.1 of Esser et al. 2020, equation 3, number by number, with a zero point."""
    low, high, total, dx = -128 - int(zero), 127 - int(zero), 0.0, []
    for slope, exact in zip(dy, x / scale, strict=True):
        steps = round(exact)
        inside = low <= steps <= high
        total += slope * (steps - exact if inside else (low if steps < low else high))
        dx.append(slope if inside else 0.0)
    return np.array(dx), 0.25 * total


CASES = [
    Case("fake-quantize-borders", FakeQuantize(-3, 4), (BORDERS, HALF, TWO), lambda *_: ROUNDED),
    Case("fake-quantize", FakeQuantize(-8, 7), (X, *ALL), lambda *_: torch_output("fake_quantize_tensor")),
    Case(
        "fake-quantize-channels",
        FakeQuantize(-8, 7, axis=1),
        (X, *CHANNELS),
        lambda *_: torch_output("fake_quantize_channel"),
    ),
    Case(
        "fake-quantize-last-axis",
        FakeQuantize(-2, 1, axis=1),
        (np.array([[0.3, 0.3], [-9, 9]], np.float32), np.array([0.25, 1], np.float32), np.array([0, 1], np.int32)),
        lambda *_: [[0.25, 0.0], [-0.5, 0.0]],
    ),
    Case(
        "fake-quantize-grad-borders",
        FakeQuantizeGrad(-3, 4),
        (DY.reshape(-1)[:15], BORDERS, HALF, TWO),
        lambda dy, *_: dy * INSIDE,
    ),
    Case(
        "fake-quantize-grad",
        FakeQuantizeGrad(-8, 7),
        (DY, X, *ALL),
        lambda *_: torch_output("fake_quantize_tensor_grad"),
    ),
    Case(
        "fake-quantize-grad-channels",
        FakeQuantizeGrad(-8, 7, axis=1),
        (DY, X, *CHANNELS),
        lambda *_: torch_output("fake_quantize_channel_grad"),
    ),
    Case(
        "fake-quantize-learned-borders",
        FakeQuantizeLearnedGrad(-3, 4, slope=2.0),
        (DY.reshape(-1)[:15], BORDERS, HALF, TWO),
        lambda dy, *_: (dy * INSIDE, 2 * np.sum(dy * SLOPES)),
    ),
    Case(
        "fake-quantize-learned",
        FakeQuantizeLearnedGrad(-8, 7, slope=0.5),
        (DY, X, *ALL),
        lambda *_: (torch_output("fake_quantize_tensor_grad"), torch_output("fake_quantize_tensor_scale_grad")[0]),
    ),
    Case(
        "fake-quantize-learned-channels",
        FakeQuantizeLearnedGrad(-8, 7, axis=1, slope=0.5),
        (DY, X, *CHANNELS),
        lambda *_: (torch_output("fake_quantize_channel_grad"), torch_output("fake_quantize_channel_scale_grad")),
    ),
    Case(
        "fake-quantize-learned-blocks",
        FakeQuantizeLearnedGrad(slope=0.25),
        (LONG_DY, LONG, np.array(0.01, np.float32), np.array(-100, np.int32)),
        learned,
    ),
    Case("symmetric-scale", SymmetricScale(127), (np.array([[0.0, -3.0], [2.0, 1.0]], np.float32),), lambda x: 3 / 127),
    Case(
        "symmetric-scale-channels",
        SymmetricScale(7, axis=0),
        (np.array([[0.0, -3.0], [2.0, 1.0], [0.0, 0.0]], np.float32),),
        lambda x: [3 / 7, 2 / 7, 1 / 7],
    ),
    Case(
        "symmetric-scale-last-axis",
        SymmetricScale(axis=2),
        (np.array([[[1.0, -3.0], [-2.0, 1.0]]], np.float32),),
        lambda x: [2 / 127, 3 / 127],
    ),
]
