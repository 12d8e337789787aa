"""A network of a few layers, for runs that only show that a benchmark works."""

from __future__ import annotations

from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.preprocess import Preprocess

SMOKE = "smoke"


def smoke_model(side: int, classes: int) -> Model:
    """Return a convolution, a depthwise one and a dense layer, with batch norms."""
    net = Network(SMOKE, (side, side, 3), 0)
    x = net.activation(net.batch_norm(net.conv(net.image, 8, 3, "stem", 2), "stem.norm"), "relu")
    x = net.activation(net.batch_norm(net.depthwise(x, 3, "depthwise"), "depthwise.norm"), "relu")
    graph, workspace = net.head(net.global_average_pool(x), classes)
    labels = tuple(f"class {index}" for index in range(classes))
    return Model(graph, workspace, Preprocess((side, side)), labels, {"architecture": SMOKE})
