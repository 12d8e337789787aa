"""What a file takes and gives, as JSON: the contract between the network and the app that runs it."""

from __future__ import annotations

from typing import Any, Literal

from edge_sdk.graph import Graph
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import Spec

OutputKind = Literal["logits", "probabilities"]


def contract(graph: Graph, outside: Preprocess, output: OutputKind) -> dict[str, Any]:
    """Return what callers must know of a graph's edges: names, types, shapes, units, quantization.

    `outside` is the preprocessing that the app does. An input of `pixels` takes 0 … 255 as they are; one of
    `normalised` takes (pixel - mean) / std. A first size of -1 is the open batch.
    """
    image, result = (graph.specs[values[0]] for values in (graph.inputs, graph.outputs))
    raw = image.dtype == "uint8" or (set(outside.mean) == {0.0} and set(outside.std) == {1.0})
    channels = outside.channel_count
    return {
        "input": {
            "name": str(graph.inputs[0]),
            **_tensor(image),
            "layout": "NHWC",
            "channels": outside.channels,
            "values": "pixels" if raw else "normalised",
            "mean": [0.0] * channels if raw else list(outside.mean),
            "std": [1.0] * channels if raw else list(outside.std),
            "photo": _photo(outside),
        },
        "output": {"name": str(graph.outputs[0]), **_tensor(result), "values": output},
    }


def _tensor(spec: Spec) -> dict[str, Any]:
    quant = spec.quant
    return {
        "dtype": spec.dtype,
        "shape": list(spec.shape),
        "quantization": None if quant is None else {"scale": quant.scale[0], "zero_point": quant.zero_point[0]},
    }


def _photo(rule: Preprocess) -> dict[str, Any]:
    """How a photo is brought to the input's size; `shorter_side` and `stretch` exclude each other."""
    return {
        "size": list(rule.size),
        "shorter_side": rule.resize,
        "stretch": None if rule.resize is not None else list(rule.stretch or rule.size),
        "interpolation": rule.interpolation,
        "antialias": rule.interpolation != "nearest",
        "crop": "centre",
    }
