"""Photos as they are: a graph that takes 8-bit pixels."""

from __future__ import annotations

import dataclasses

import numpy as np

from edge_sdk.graph import Graph, Node
from edge_sdk.model import INPUT
from edge_sdk.ops.conv import DepthwiseConv2D
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import QuantParams, Spec, Value
from edge_sdk.verify import verify
from edge_sdk.workspace import Workspace

NORMALISED = Value("image.normalised")


def pixel_parameters(preprocess: Preprocess) -> QuantParams | None:
    """Return the uint8 parameters under which a raw pixel *is* the normalised number, if there are such.

    (pixel - mean) / std is scale · (pixel - zero point) when mean and std are the same whole and real number for all
    channels.
    """
    mean, std = preprocess.mean, preprocess.std
    same = len(set(mean)) == 1 and len(set(std)) == 1 and preprocess.channels != "bgr"
    if not same or mean[0] != int(mean[0]) or not 0 <= mean[0] <= 255:
        return None
    return QuantParams((float(np.float32(1 / std[0])),), (int(mean[0]),))


def embed_normalisation(
    graph: Graph, workspace: Workspace, preprocess: Preprocess
) -> tuple[Graph, Workspace, Preprocess]:
    """Return a graph that takes raw pixels 0 … 255, red first, with the preprocessing that is left to do outside.

    The normalisation becomes a 1×1 depthwise convolution, whose per-channel weights and 32-bit bias keep it exact when
    quantized.
    """
    image = Value(INPUT)
    spec = graph.specs[image]
    channels = spec.shape[3]
    weight, bias = Value(f"{NORMALISED}.weight"), Value(f"{NORMALISED}.bias")
    std, mean = np.asarray(preprocess.std, np.float64), np.asarray(preprocess.mean, np.float64)
    arrays = workspace.restricted(graph)
    arrays[weight] = (1 / std).reshape(1, 1, 1, channels).astype(np.float32)
    arrays[bias] = (-mean / std).astype(np.float32)
    first = Node(DepthwiseConv2D(), (image, weight, bias), (NORMALISED,))
    rest = tuple(
        dataclasses.replace(node, inputs=tuple(NORMALISED if v == image else v for v in node.inputs))
        for node in graph.nodes
    )
    specs = {**graph.specs, NORMALISED: spec, weight: Spec((1, 1, 1, channels)), bias: Spec((channels,))}
    changed = Graph(graph.name, graph.inputs, (*graph.params, weight, bias), (first, *rest), graph.outputs, specs)
    verify(changed)
    raw = dataclasses.replace(preprocess, mean=(0.0,) * channels, std=(1.0,) * channels)
    return changed, arrays, raw
