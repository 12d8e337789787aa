"""A network small enough to train in a test, and photos that it can tell apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.preprocess import Preprocess

SIDE = 16
LABELS = ("blue", "green", "red")


def tiny_model(seed: int = 0, classes: int = 3) -> Model:
    """Convolution, batch norm, depthwise block with a shortcut, dropout, head."""
    net = Network("tiny", (SIDE, SIDE, 3), seed)
    x = net.activation(net.batch_norm(net.conv(net.image, 8, 3, "stem.conv", 2), "stem.norm"), "relu6")
    y = net.activation(net.batch_norm(net.depthwise(x, 3, "block.depthwise"), "block.norm1"), "relu6")
    y = net.batch_norm(net.conv(y, 8, 1, "block.conv"), "block.norm2")
    x = net.dropout(net.global_average_pool(net.add(x, y)), 0.1)
    graph, workspace = net.head(x, classes)
    preprocess = Preprocess((SIDE, SIDE), mean=(127.0,) * 3, std=(128.0,) * 3)
    return Model(graph, workspace, preprocess, LABELS[:classes], {"architecture": "tiny"})


def wide_model(seed: int = 0) -> Model:
    """Two convolutions of 64 channels: there is something to remove."""
    net = Network("wide", (SIDE, SIDE, 3), seed)
    x = net.activation(net.batch_norm(net.conv(net.image, 64, 3, "first", 2), "norm1"), "relu")
    x = net.activation(net.batch_norm(net.conv(x, 64, 3, "second", 2), "norm2"), "relu")
    graph, workspace = net.head(net.global_average_pool(x), 3)
    return Model(graph, workspace, Preprocess((SIDE, SIDE), mean=(127.0,) * 3, std=(128.0,) * 3), LABELS)


def rescaled_model(model: Model) -> Model:
    """Return a tiny model's function by other weights: the channels between two layers are 1000 : 1 apart.

    One scale for that tensor leaves the smaller channels nothing, so that plain 8-bit forms of it are useless.
    """
    graph, workspace = model.inference
    first = next(node for node in graph.nodes if node.op.name == "depthwise_conv2d")
    last = next(node for node in graph.nodes if first.output in node.inputs)
    factors = np.array([1.0, 1e3] * (graph.specs[first.output].shape[-1] // 2), np.float32)
    arrays = workspace.restricted(graph)
    arrays[first.inputs[1]] = workspace[first.inputs[1]] * factors
    arrays[first.inputs[2]] = workspace[first.inputs[2]] * factors
    arrays[last.inputs[1]] = workspace[last.inputs[1]] / factors
    op = dataclasses.replace(first.op, activation="relu")  # which commutes with factors, as ReLU6 does not
    nodes = tuple(dataclasses.replace(node, op=op) if node is first else node for node in graph.nodes)
    return model.replace(graph=dataclasses.replace(graph, nodes=nodes), workspace=arrays)


def write_photos(folder: Path, count: int = 12) -> Path:
    """Write `count` noisy photos of each colour, one sub-folder a class."""
    random = np.random.default_rng(0)
    for channel, label in enumerate(reversed(LABELS)):
        (folder / label).mkdir(parents=True)
        for index in range(count):
            pixels = random.integers(0, 120, (20, 24, 3), np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(folder / label / f"{index}.png")
    return folder
