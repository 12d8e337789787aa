"""Networks of one or two layers and a classifier, for tests of whole graphs in every precision."""

from __future__ import annotations

import numpy as np

from edge_sdk.builder import Builder
from edge_sdk.graph import Graph
from edge_sdk.ops.activation import HardSwish, LeakyRelu, Sigmoid, Softmax, Tanh
from edge_sdk.ops.control import Identity
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Mul
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.random import Dropout
from edge_sdk.ops.shape import Concat, Flatten, Pad
from edge_sdk.spec import BATCH, QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

PIXELS = QuantParams((1 / 64,), (128,))
IMAGES = np.random.default_rng(5).integers(0, 256, (16, 12, 12, 8), dtype=np.uint8)
NORMALISED = ((IMAGES.astype(np.float32) - 128) / 64).astype(np.float32)


def network(*layers: tuple) -> tuple[Graph, Workspace]:
    """Layers (operator, weight shape or None[, branch]) one after the other, ended by a classifier; seeded weights."""
    rng = np.random.default_rng(0)
    g, workspace = Builder("net"), Workspace()

    def param(name: str, shape: tuple[int, ...]) -> Value:
        fan_in = max(1, int(np.prod(shape[1:])))
        workspace[name] = (rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
        return g.param(name, Spec(shape))

    x = g.input("image", Spec((BATCH, 12, 12, 8)))
    for index, (op, shape) in enumerate(layers):
        inputs = [x]
        if shape is not None:
            outputs = shape[3] if isinstance(op, DepthwiseConv2D) else shape[0]
            inputs += [param(f"w{index}", shape), param(f"b{index}", (outputs,))]
        elif op.name in ("add", "mul", "concat"):
            inputs += [x]
        x = g.add(op, *inputs, name=f"layer{index}")
    if g.spec(x).rank == 4:
        x = g.add(Flatten(), x)
    head = [param("head.weight", (10, g.spec(x).shape[1])), param("head.bias", (10,))]
    return g.build(g.add(Linear(), x, *head, name="logits")), workspace


NETWORKS = {
    "plain": ((Conv2D((1, 1), "same", activation="relu"), (16, 3, 3, 8)), (MaxPool2D((2, 2), (2, 2)), None)),
    "padded": (
        (Conv2D((2, 2), ((1, 1), (1, 1)), activation="relu6"), (16, 3, 3, 8)),
        (MaxPool2D((3, 3), (2, 2), ((1, 1), (1, 1))), None),
    ),
    "grouped": ((Conv2D((1, 1), "same", groups=4), (32, 3, 3, 2)), (GlobalAvgPool(), None)),
    "a group a channel": ((Conv2D((1, 1), "same", groups=8), (16, 3, 3, 1)), (GlobalAvgPool(), None)),
    "depthwise": (
        (DepthwiseConv2D((2, 2), ((0, 2), (2, 0)), activation="relu"), (1, 5, 5, 16)),
        (GlobalAvgPool(), None),
    ),
    "dilated": ((Conv2D((1, 1), "same", (2, 2)), (16, 3, 3, 8)), (GlobalAvgPool(), None)),
    "ceil": ((MaxPool2D((3, 3), (2, 2), "valid", ceil=True), None),),
    "means": (
        (AvgPool2D((3, 3), (2, 2), "same"), None),
        (AvgPool2D((3, 3), (2, 2), ((1, 1), (1, 1)), count_padding=True), None),
    ),
    "means at borders": ((AvgPool2D((3, 3), (3, 3), ((1, 2), (2, 1))), None),),
    "adaptive": ((AdaptiveAvgPool2D((5, 7)), None),),
    "adaptive whole": ((AdaptiveAvgPool2D((4, 3)), None), (AdaptiveAvgPool2D((4, 3)), None)),
    "branches": ((Add("relu"), None), (Concat(3), None), (Pad(((0, 0), (1, 0), (0, 1), (0, 0))), None)),
    "curves": ((LeakyRelu(0.1), None), (HardSwish(), None), (Tanh(), None)),
    "gates": ((Sigmoid(), None), (Mul(), None)),
    "softmax": ((Softmax(), None),),
    "aliases": ((Dropout(0.5), None), (Identity(), None)),
}
