"""How exact the CPU kernels are on the layers of real networks, at their real sizes, against float64.

pytest -m slow tests/ops/test_accuracy.py -s      # all layers, and a table of the worst figure of each algorithm
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from kernel_calls import call_kernel

from edge_sdk.kernel import applicable_kernels, load_device
from edge_sdk.op import Op
from edge_sdk.ops.conv import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradWeight,
    DepthwiseConv2D,
    DepthwiseConv2DGradInput,
    DepthwiseConv2DGradWeight,
)
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.spec import Array, Spec

for _device in ("cpu", "reference"):
    load_device(_device)

EXACT, APPROXIMATE = 1e-5, 5e-5  # of the largest result
BATCH = 2

# (side, inputs, outputs, kernel, stride, padding) of every layer shape; a depthwise layer has no outputs of its own.
Layer = tuple[int, int, int, int, int, int]
LAYERS: dict[str, list[Layer]] = {
    "resnet18": [
        (224, 3, 64, 7, 2, 3), (56, 64, 64, 3, 1, 1), (56, 64, 128, 3, 2, 1), (56, 64, 128, 1, 2, 0),
        (28, 128, 128, 3, 1, 1), (28, 128, 256, 3, 2, 1), (14, 256, 256, 3, 1, 1), (14, 256, 512, 3, 2, 1),
        (7, 512, 512, 3, 1, 1),
    ],
    "vgg16": [
        (224, 3, 64, 3, 1, 1), (224, 64, 64, 3, 1, 1), (112, 64, 128, 3, 1, 1), (112, 128, 128, 3, 1, 1),
        (56, 128, 256, 3, 1, 1), (56, 256, 256, 3, 1, 1), (28, 256, 512, 3, 1, 1), (28, 512, 512, 3, 1, 1),
        (14, 512, 512, 3, 1, 1),
    ],
    "mobilenet_v2": [
        (224, 3, 32, 3, 2, 1), (112, 32, 0, 3, 1, 1), (112, 32, 16, 1, 1, 0), (112, 16, 96, 1, 1, 0),
        (112, 96, 0, 3, 2, 1), (56, 96, 24, 1, 1, 0), (56, 24, 144, 1, 1, 0), (56, 144, 0, 3, 1, 1),
        (28, 192, 0, 3, 1, 1), (14, 384, 0, 3, 1, 1), (14, 384, 64, 1, 1, 0), (14, 576, 0, 3, 2, 1),
        (7, 960, 0, 3, 1, 1), (7, 960, 320, 1, 1, 0), (7, 320, 1280, 1, 1, 0),
    ],
    "alexnet": [
        (224, 3, 64, 11, 4, 2), (27, 64, 192, 5, 1, 2), (13, 192, 384, 3, 1, 1), (13, 384, 256, 3, 1, 1),
        (13, 256, 256, 3, 1, 1),
    ],
}  # fmt: skip
DENSE = {"resnet18": [(512, 1000)], "mobilenet_v2": [(1280, 1000)], "alexnet": [(9216, 4096), (4096, 1000)]}
FEW: list[Layer] = [(28, 128, 128, 3, 1, 1), (28, 96, 0, 3, 2, 1), (28, 64, 128, 1, 1, 0), (28, 3, 64, 7, 2, 3)]


def convolution_cases(layer: Layer) -> Iterator[tuple[Op, tuple[Array, ...]]]:
    """Forward and both gradients on standard normal numbers."""
    side, inputs, outputs, taps, stride, pad = layer
    rng = np.random.default_rng(side * inputs + outputs)
    at, kernel, size = ((stride, stride), ((pad, pad), (pad, pad)), (1, 1)), (taps, taps), (side, side)
    forward: Op = Conv2D(*at) if outputs else DepthwiseConv2D(*at)
    x = rng.standard_normal((BATCH, *size, inputs), np.float32)
    w = rng.standard_normal((outputs, *kernel, inputs) if outputs else (1, *kernel, inputs), np.float32)
    dy = rng.standard_normal(forward.infer_outputs((Spec(x.shape), Spec(w.shape)))[0].shape, np.float32)
    yield forward, (x, w)
    if outputs:
        yield Conv2DGradInput(*at, 1, size), (dy, w)
        yield Conv2DGradWeight(*at, 1, kernel), (dy, x)
    else:
        yield DepthwiseConv2DGradInput(*at, size, inputs), (dy, w)
        yield DepthwiseConv2DGradWeight(*at, kernel), (dy, x)


def dense_cases(inputs: int, outputs: int, rows: int) -> Iterator[tuple[Op, tuple[Array, ...]]]:
    """A dense layer and the products of its gradients."""
    rng = np.random.default_rng(inputs)
    x, w, dy = (
        rng.standard_normal(shape, np.float32) for shape in ((rows, inputs), (outputs, inputs), (rows, outputs))
    )
    yield Linear(), (x, w)
    yield MatMul(), (dy, w)
    yield MatMul(transpose_a=True), (dy, x)


def worst_figures(cases: Iterator[tuple[Op, tuple[Array, ...]]]) -> dict[tuple[str, str], float]:
    """By operator and algorithm the largest error, of the largest result; each is checked against its bound."""
    worst: dict[tuple[str, str], float] = {}
    for op, inputs in cases:
        (naive,) = applicable_kernels(op, "reference", [Spec(x.shape, "float64") for x in inputs])
        (wanted,) = call_kernel(naive, op, [x.astype(np.float64) for x in inputs])
        for kernel in applicable_kernels(op, "cpu", [Spec(x.shape) for x in inputs]):
            (actual,) = call_kernel(kernel, op, inputs)
            error = float(np.abs(actual - wanted).max() / np.abs(wanted).max())

            assert error <= (APPROXIMATE if kernel.approximate else EXACT), f"{op.name}, {kernel.algorithm}: {error}"
            key = op.name, kernel.algorithm
            worst[key] = max(error, worst.get(key, 0.0))
    return worst


@pytest.mark.parametrize("layer", FEW, ids=str)
def test_a_layer_of_each_kind_is_exact(layer: Layer) -> None:
    """Winograd, depthwise, 1×1 and a stem, forward and backward, by every algorithm that applies."""
    figures = worst_figures(convolution_cases(layer))

    assert len(figures) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("network", LAYERS)
def test_every_layer_of_a_network_is_exact(network: str) -> None:
    """All layer shapes at the networks' own sizes; the table of the worst figures is printed."""
    worst: dict[tuple[str, str], float] = {}
    for layer in LAYERS[network]:
        for key, error in worst_figures(convolution_cases(layer)).items():
            worst[key] = max(error, worst.get(key, 0.0))
    for inputs, outputs in DENSE.get(network, []):
        for rows in (2, 64):
            for key, error in worst_figures(dense_cases(inputs, outputs, rows)).items():
                worst[key] = max(error, worst.get(key, 0.0))

    for (operator, algorithm), error in sorted(worst.items()):
        print(f"{network:13} {operator:30} {algorithm:30} {error:.1e}")  # noqa: T201 - the table is the report
    assert any(algorithm == "winograd 4x4" for _, algorithm in worst) or network == "mobilenet_v2"
