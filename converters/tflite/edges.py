"""What an exported graph takes and gives: raw pixels of another size, red first; probabilities."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge_sdk.builder import Builder
from edge_sdk.converters.tflite.contract import OutputKind
from edge_sdk.errors import ExportError, UsageError, suggestion
from edge_sdk.graph import Graph, Node
from edge_sdk.model import INPUT, OUTPUT, Model
from edge_sdk.op import Op
from edge_sdk.ops.activation import Softmax
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Div, Sub
from edge_sdk.ops.quantization import Quantize
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import Cast, Slice
from edge_sdk.preprocess import LARGEST_SIDE, Preprocess
from edge_sdk.quantization.int8 import EdgeType
from edge_sdk.quantization.rounded_model import rounds
from edge_sdk.spec import Array, QuantParams, Spec, Value
from edge_sdk.verify import verify
from edge_sdk.workspace import Workspace

OUTPUTS = ("logits", "probabilities")
PROBABILITIES = "probabilities"
SCORES = QuantParams((1 / 256,), (-128,))
"""The int8 parameters that TFLite's specification gives a softmax."""


@dataclass(frozen=True)
class Edges:
    """What a file shall take and give.

    Attributes:
        integers: Whether the graph between is quantized.
        embed_preprocessing: Whether it takes raw pixels whatever its precision.
        asked_input_type: uint8 or float32; None is uint8 for integers, else float32.
        input_size: (height, width) of the photos that it resizes itself; None takes them at the network's size.
        output: Logits, or probabilities.

    Raises:
        UsageError: a combination that no file can have.
    """

    integers: bool = False
    embed_preprocessing: bool = False
    asked_input_type: EdgeType | None = None
    input_size: tuple[int, int] | None = None
    output: OutputKind = "logits"

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise UsageError(
                f"output {self.output!r} is not one of {', '.join(OUTPUTS)}{suggestion(self.output, OUTPUTS)}"
            )
        if self.asked_input_type == "uint8" and not self.integers and not self.embed_preprocessing:
            raise UsageError(
                "a uint8 input (--input-type) is for quantize='int8', or for a file that normalises pixels itself "
                "(embed_preprocessing=True, --embed-preprocessing)"
            )
        if self.asked_input_type == "float32" and self.integers and self.embed_preprocessing:
            raise UsageError("an int8 file with its preprocessing inside takes uint8 pixels; leave --input-type out")
        _check_input_size(self.input_size)
        if self.input_size is not None and not self.embed_preprocessing:
            raise UsageError("an input size (--input-size) needs the preprocessing inside (--embed-preprocessing)")

    @property
    def input_type(self) -> EdgeType:
        """The type of the file's input."""
        return self.asked_input_type or ("uint8" if self.integers else "float32")

    @property
    def embedded(self) -> str:
        """What of the preprocessing is inside, in words."""
        if self.input_size is not None:
            return "normalisation and resize"
        pixels = self.embed_preprocessing or (self.integers and self.input_type == "uint8")
        return "normalisation" if pixels else "nothing"

    def apply(self, graph: Graph, workspace: Workspace, preprocess: Preprocess) -> tuple[Graph, Workspace, Preprocess]:
        """Return a finished graph with these edges, its weights, and what is left to do outside."""
        if self.embed_preprocessing:
            graph, workspace, preprocess = embed_preprocessing(
                graph, workspace, preprocess, pixels=self.input_type == "uint8", size=self.input_size
            )
        return (with_probabilities(graph) if self.output == "probabilities" else graph), workspace, preprocess


def red_first(model: Model) -> Model:
    """Return the same classifier for photos in the order red, green, blue.

    Phones decode photos so, and metadata has no name for another order. The weights of the first convolutions are
    turned round, which costs nothing; where something else reads the photo, a 1×1 convolution swaps the channels.
    """
    if model.preprocess.channels != "bgr":
        return model
    if rounds(model):
        raise ExportError(
            f"{model.name} was trained in 8-bit numbers on photos with blue first; train red_first(model)"
        )
    rule = dataclasses.replace(
        model.preprocess, channels="rgb", mean=model.preprocess.mean[::-1], std=model.preprocess.std[::-1]
    )
    graph, image = model.graph, Value(INPUT)
    readers = [node for node in graph.nodes if image in node.inputs]
    weights = {node.inputs[1] for node in readers if isinstance(node.op, Conv2D) and node.op.groups == 1}
    others = {value for node in graph.nodes if node not in readers for value in node.inputs}
    plain = all(isinstance(n.op, Conv2D) and n.op.groups == 1 and n.inputs.count(image) == 1 for n in readers)
    if plain and not weights & others and weights <= set(graph.params):
        arrays = model.workspace.restricted(graph)
        for weight in weights:
            arrays[weight] = np.ascontiguousarray(arrays[weight][..., ::-1])
        return model.replace(workspace=arrays, preprocess=rule)
    swap = Value(f"{INPUT}.swap")
    change = _Change(graph, model.workspace)
    change.parameter(swap, np.eye(3, dtype=np.float32)[::-1].reshape(3, 1, 1, 3))
    change.before(graph.specs[image], [(Conv2D(), (swap,), f"{INPUT}.bgr")])
    return model.replace(graph=change.graph, workspace=change.workspace, preprocess=rule)


def embed_preprocessing(
    graph: Graph, workspace: Workspace, preprocess: Preprocess, *, pixels: bool, size: tuple[int, int] | None
) -> tuple[Graph, Workspace, Preprocess]:
    """Return a graph that takes raw pixels 0 … 255, with the preprocessing that is left to do outside.

    A float graph gets its normalisation as a subtraction and a division, so its numbers are those of `Preprocess` bit
    by bit; with `pixels` it takes them as uint8. A quantized graph takes uint8 already. `size` (height, width), where
    given, is that of the photo, which is resized inside: by the rule of `preprocess`, but without antialiasing.

    Bicubic rules are resized bilinearly, which is what the runtime has.
    """
    spec = graph.specs[Value(INPUT)]
    quantized = spec.dtype == "uint8"
    change = _Change(graph, workspace)
    steps: list[tuple[Op, tuple[Value, ...], str]] = []
    first = spec if quantized else Spec(spec.shape, "uint8" if pixels else spec.dtype)
    if not quantized and pixels:
        steps.append((Cast("float32"), (), f"{INPUT}.float"))
    outside = preprocess
    if size is not None:
        first = dataclasses.replace(first, shape=(spec.shape[0], *size, spec.shape[3]))
        steps += _resizing(preprocess, size)
        outside = dataclasses.replace(preprocess, size=size, resize=None, stretch=None)
    if not quantized:
        for op, name, numbers in ((Sub(), "mean", preprocess.mean), (Div(), "std", preprocess.std)):
            value = Value(f"{INPUT}.{name}")
            change.parameter(value, np.asarray(numbers, np.float32))
            steps.append((op, (value,), f"{INPUT}.{'centred' if name == 'mean' else 'normalised'}"))
    change.before(first, steps)
    channels = preprocess.channel_count
    raw = dataclasses.replace(outside, mean=(0.0,) * channels, std=(1.0,) * channels)
    return change.graph, change.workspace, raw


def with_probabilities(graph: Graph) -> Graph:
    """Return a graph that gives probabilities (n, classes) instead of logits.

    Float logits get a float softmax, so their order stays. Logits that leave as uint8 get the integer softmax, whose
    steps are 1/256.
    """
    logits, result = Value(OUTPUT), Value(PROBABILITIES)
    shape = graph.specs[logits].shape
    if graph.specs[logits].dtype == "float32":
        nodes = (*graph.nodes, Node(Softmax(), (logits,), (result,)))
        specs = {**graph.specs, result: Spec(shape)}
    else:
        last = next(node for node in graph.nodes if logits in node.outputs)
        scores = Value(f"{PROBABILITIES}.int8")
        leave = Quantize(SCORES.scale[0], SCORES.zero_point[0] + 128, "uint8")
        nodes = (
            *(node for node in graph.nodes if node is not last),
            Node(Softmax(), last.inputs, (scores,)),
            Node(leave, (scores,), (result,)),
        )
        specs = {value: spec for value, spec in graph.specs.items() if value != logits}
        specs |= {scores: Spec(shape, "int8", SCORES), result: leave.infer(Spec(shape, "int8", SCORES))}
    changed = dataclasses.replace(graph, nodes=nodes, outputs=(result,), specs=specs)
    verify(changed)
    return changed


def _check_input_size(size: tuple[int, ...] | None) -> None:
    if size is None:
        return
    if len(size) != 2 or not all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in size):
        raise UsageError(f"input_size must be (height, width), whole numbers from 1 to {LARGEST_SIDE}; found {size!r}")


def _resizing(preprocess: Preprocess, size: tuple[int, int]) -> list[tuple[Op, tuple[Value, ...], str]]:
    rows, columns = preprocess.scaled_size(size[1], size[0])
    height, width = preprocess.size
    method: Literal["bilinear", "nearest"] = "nearest" if preprocess.interpolation == "nearest" else "bilinear"
    steps: list[tuple[Op, tuple[Value, ...], str]] = [(Resize((rows, columns), method), (), f"{INPUT}.resized")]
    if (rows, columns) != (height, width):
        begin = (0, round((rows - height) / 2), round((columns - width) / 2), 0)
        steps.append((Slice(begin, (-1, height, width, -1)), (), f"{INPUT}.cropped"))
    return steps


class _Change:
    """A graph and its weights in the making: steps are put between the photo and whoever reads it."""

    def __init__(self, graph: Graph, workspace: Workspace) -> None:
        self.graph = graph
        self.workspace = workspace.restricted(graph)
        self._added: dict[Value, Array] = {}

    def parameter(self, name: Value, array: Array) -> None:
        """Add a constant."""
        self.workspace[name] = self._added[name] = array

    def before(self, first: Spec, steps: list[tuple[Op, tuple[Value, ...], str]]) -> None:
        """Let the photo be `first`, and let the rest of the graph read the last of `steps` (operator, more inputs,
        name) instead.
        """
        image = Value(INPUT)
        g = Builder(self.graph.name)
        value = g.input(INPUT, first)
        parameters = {name: g.param(name, Spec(array.shape)) for name, array in self._added.items()}
        for op, more, name in steps:
            if isinstance(op, Resize | Slice) and g.spec(value).quant is not None:
                spec = g.spec(value)
                (value,) = g.append(op, [value], [Spec(op.infer(Spec(spec.shape)).shape, spec.dtype, spec.quant)], name)
            else:
                value = g.add(op, value, *(parameters[parameter] for parameter in more), name=name)
        start = g.build(value)
        rest = tuple(
            dataclasses.replace(node, inputs=tuple(value if v == image else v for v in node.inputs))
            for node in self.graph.nodes
        )
        self.graph = dataclasses.replace(
            self.graph,
            params=(*self.graph.params, *parameters.values()),
            nodes=(*start.nodes, *rest),
            specs={**self.graph.specs, **start.specs},
        )
        verify(self.graph)
