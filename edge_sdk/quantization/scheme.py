"""What a network is quantized to: how ranges are chosen, and in which precision each layer computes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.spec import Value

ActivationType = Literal["int8", "int16"]
WeightType = Literal["int8", "int4"]
LayerPrecision = Literal["int8", "int16", "float32"]


@dataclass(frozen=True)
class Scheme:
    """How a network is quantized. The default is what every runtime of TFLite has: 8 bits, a weight scale a channel.

    Activations of 16 bits under weights of 8 ("16x8") round 256 times finer. They are always symmetric, and weights of
    4 bits stay with the layers of 8.

    Attributes:
        observer: How the range of an activation is chosen from what is seen; a name in `observers.OBSERVERS`.
        activations: How activations are stored.
        weights: How weights of convolutions and dense layers are stored.
        per_channel: One weight scale an output channel, or one a tensor.
        dense_per_channel: The same for dense layers, which a runtime before 2.17 does not know.
        symmetric: Activations have the zero point 0, so that one bit is lost where they are never negative.
        layers: The precision of single nodes, each under the name of its (first) output; "float32" computes it on
            real numbers, between a Dequantize and a Quantize.

    Raises:
        UsageError: a precision that is none.
    """

    observer: str = "min-max"
    activations: ActivationType = "int8"
    weights: WeightType = "int8"
    per_channel: bool = True
    dense_per_channel: bool = False
    symmetric: bool = False
    layers: Mapping[Value, LayerPrecision] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))
        _check("activations", [self.activations], get_args(ActivationType))
        _check("weights", [self.weights], get_args(WeightType))
        _check("layers", self.layers.values(), get_args(LayerPrecision))

    def check(self, graph: Graph) -> None:
        """Raise UsageError for layers that the graph does not have."""
        nodes = [node.outputs[0] for node in graph.nodes]
        for value in self.layers:
            if value not in nodes:
                raise UsageError(f"layers: {graph.name!r} computes no {value!r}{suggestion(value, nodes)}")


def _check(what: str, chosen: Iterable[str], known: tuple[str, ...]) -> None:
    for name in chosen:
        if name not in known:
            raise UsageError(f"{what} {name!r} is not one of {', '.join(known)}{suggestion(name, known)}")


DEFAULT = Scheme()
