"""How other libraries call the layers of the zoo's networks, and where they compute them otherwise.

timm (github.com/huggingface/pytorch-image-models) and transformers (github.com/huggingface/transformers) have networks
of their own writing. Their ResNets and DenseNets are called as torchvision's in timm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from edge_sdk.graph import Graph
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.spec import Value

PUBLISHED = "published"
Sides = Literal["same", "symmetric"]


@dataclass(frozen=True)
class Convention:
    """A library's names, ours → theirs, and what is different in its networks.

    `epsilon` is that of its batch norms; `padding` is TensorFlow's rule, by which an odd pixel comes last, or as many
    pixels on either side. None is as the zoo has it. `symmetric_pixels`: it wants photos from -1 to 1.
    """

    library: str
    layers: Mapping[str, str]
    epsilon: float | None = None
    padding: Sides | None = None
    symmetric_pixels: bool = False

    def adapted(self, graph: Graph) -> Graph:
        """Return the graph as the library computes it; names, parameters and shapes stay."""
        if self.epsilon is None and self.padding is None:
            return graph
        return replace(
            graph, nodes=tuple(replace(node, op=self._adapted(graph, node.op, node.inputs)) for node in graph.nodes)
        )

    def _adapted(self, graph: Graph, op: Op, inputs: tuple[Value, ...]) -> Op:
        if isinstance(op, BatchNorm) and self.epsilon is not None:
            return replace(op, epsilon=self.epsilon)
        if isinstance(op, (Conv2D, DepthwiseConv2D)) and self.padding is not None:
            rows, columns = graph.specs[inputs[1]].shape[1:3]  # odd in all of these networks
            sides = ((rows // 2, rows // 2), (columns // 2, columns // 2))
            return replace(op, padding="same" if self.padding == "same" else sides)
        return op


def conventions(module: str, graph: Graph, published: Mapping[str, str]) -> tuple[Convention, ...]:
    """Return what a network of the zoo is called in the libraries that have it, the published names first.

    Args:
        module: the module of the zoo that built it.
        graph: the network.
        published: our layer names and those of the published checkpoint.
    """
    found = [Convention(PUBLISHED, published)]
    if module == "vgg":
        timm = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "head": "head.fc"}
        found.append(Convention("timm", {**published, **timm}))
    elif module == "mobilenet_v3":
        found.append(Convention("timm", _timm_blocks(graph, _last_of_v3), epsilon=1e-5))
    elif module == "mobilenet_v1":
        found.append(Convention("timm", _timm_blocks(graph, _no_last), epsilon=1e-5, padding="symmetric"))
        found.append(Convention("transformers", _transformers_v1(graph)))
    elif module in {"mobilenet_v2", "mnasnet", "efficientnet_lite"}:
        found.append(Convention("timm", _timm_blocks(graph, _last)))
    if module == "mobilenet_v2":
        names = _transformers_v2(graph)
        found.append(Convention("transformers", names, epsilon=1e-3, padding="same", symmetric_pixels=True))
    if module == "resnet" and not graph.name.endswith("_v1"):
        found.append(Convention("transformers", _transformers_resnet(graph)))
    return tuple(found)


def layer_names(graph: Graph) -> tuple[str, ...]:
    """Our names of the layers that have parameters, in the network's order."""
    return tuple(dict.fromkeys(parameter.rpartition(".")[0] for parameter in graph.params))


def _blocks(graph: Graph) -> dict[str, list[str]]:
    """The parts of each block with a depthwise convolution: of "features.3", say, "expand", "depthwise", "project"."""
    found: dict[str, list[str]] = {}
    for layer in layer_names(graph):
        path = layer.removesuffix(".conv") if layer.endswith(".conv") else layer
        block, _, part = path.rpartition(".")
        if part in {"expand", "depthwise", "pointwise", "project", "squeeze", "excite"}:
            found.setdefault(block, []).append(part)
    return {block: parts for block, parts in found.items() if "depthwise" in parts}


def _timm_blocks(graph: Graph, last: Callable[[int], tuple[str, str]]) -> dict[str, str]:
    """EfficientNet's builder in timm: blocks are counted anew where the channels change or a stride is taken."""
    blocks = _blocks(graph)
    table: dict[str, str] = {}
    stage, index, channels = -1, 0, 0
    for block, parts in blocks.items():
        narrow = parts[-1] if parts[-1] == "pointwise" else "project"
        width = graph.specs[Value(f"{block}.{narrow}.conv.weight")].shape[0]
        op = graph.consumers(Value(f"{block}.depthwise.conv.weight"))[0].op
        if width != channels or not isinstance(op, DepthwiseConv2D) or op.stride != (1, 1):
            stage, index = stage + 1, 0
        theirs = f"blocks.{stage}.{index}"
        convolutions = ("conv_pw", "conv_dw", "conv_pwl") if "expand" in parts else ("conv_dw", "conv_pw")
        plain = [part for part in parts if part not in {"squeeze", "excite"}]
        for number, (part, convolution) in enumerate(zip(plain, convolutions, strict=True), 1):
            table[f"{block}.{part}.conv"] = f"{theirs}.{convolution}"
            table[f"{block}.{part}.norm"] = f"{theirs}.bn{number}"
        table |= {f"{block}.squeeze": f"{theirs}.se.conv_reduce", f"{block}.excite": f"{theirs}.se.conv_expand"}
        index, channels = index + 1, width
    rest = [layer for layer in layer_names(graph) if layer not in table]
    others = ["conv_stem", "bn1", *last(stage + 1), "conv_head"]
    return table | dict(zip(rest, [*others[: len(rest) - 1], "classifier"], strict=True))


def _last(_stage: int) -> tuple[str, str]:
    return "conv_head", "bn2"


def _last_of_v3(stage: int) -> tuple[str, str]:
    return f"blocks.{stage}.0.conv", f"blocks.{stage}.0.bn1"


def _no_last(_stage: int) -> tuple[str, str]:
    return "", ""  # MobileNetV1 has no layer between the blocks and the classifier


def _transformers_resnet(graph: Graph) -> dict[str, str]:
    table = {"head": "classifier.1"}
    for layer in layer_names(graph):
        parts = layer.split(".")
        kind = "convolution" if parts[-1].startswith("conv") else "normalization"
        if parts[0] == "stem":
            table[layer] = f"resnet.embedder.embedder.{kind}"
        elif parts[0] == "stages":
            block = f"resnet.encoder.stages.{int(parts[1]) - 1}.layers.{parts[2]}"
            part = "shortcut" if parts[3] == "shortcut" else f"layer.{int(parts[3][4:]) - 1}"
            table[layer] = f"{block}.{part}.{kind}"
    return table


def _transformers_v1(graph: Graph) -> dict[str, str]:
    layers = _with_norms("stem", "mobilenet_v1.conv_stem")
    for index, block in enumerate(_blocks(graph)):
        layers |= _with_norms(f"{block}.depthwise", f"mobilenet_v1.layer.{2 * index}")
        layers |= _with_norms(f"{block}.pointwise", f"mobilenet_v1.layer.{2 * index + 1}")
    return layers | {"head": "classifier"}


def _transformers_v2(graph: Graph) -> dict[str, str]:
    names = {"expand": "expand_1x1", "depthwise": "conv_3x3", "project": "reduce_1x1"}
    layers: dict[str, str] = {}
    for index, (block, parts) in enumerate(_blocks(graph).items(), -1):
        theirs = "mobilenet_v2.conv_stem" if index < 0 else f"mobilenet_v2.layer.{index}"
        for part in parts:
            layers |= _with_norms(f"{block}.{part}", f"{theirs}.{names[part]}")
    first, last = (layer.removesuffix(".conv") for layer in layer_names(graph) if _is_outside(layer, layers))
    layers |= _with_norms(first, "mobilenet_v2.conv_stem.first_conv") | _with_norms(last, "mobilenet_v2.conv_1x1")
    return layers | {"head": "classifier"}


def _is_outside(layer: str, layers: Mapping[str, str]) -> bool:
    return layer.endswith(".conv") and layer not in layers


def _with_norms(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.conv": f"{theirs}.convolution", f"{ours}.norm": f"{theirs}.normalization"}
