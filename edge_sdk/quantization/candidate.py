"""A float network on its way to integers: what every step of quantization takes and returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edge_sdk.errors import UsageError
from edge_sdk.graph import Graph
from edge_sdk.model import INPUT, Model
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.calibration import ranges_of, statistics
from edge_sdk.quantization.int8 import Decisions, EdgeType, to_integers
from edge_sdk.quantization.integer_forms import integer_forms
from edge_sdk.quantization.normalisation import embed_normalisation, pixel_parameters
from edge_sdk.quantization.observers import Seen, observer
from edge_sdk.quantization.parameters import Range
from edge_sdk.quantization.rules import activation_parameters_of, check_fixed, refuse_unsupported
from edge_sdk.quantization.scheme import DEFAULT, Scheme
from edge_sdk.spec import Array, QuantParams, Value
from edge_sdk.workspace import Workspace


@dataclass(frozen=True)
class Candidate:
    """A float network and what was decided about its integers.

    Attributes:
        graph: The inference graph, of operators that have an integer form, from `image` to `logits`. It takes raw
            pixels where the file does and normalisation is more than a scale.
        workspace: Its float weights.
        preprocess: What is left to do outside.
        pixels: The uint8 parameters of the input; None leaves them to the range seen.
        scheme: How ranges are chosen and in which precision layers compute.
        activations: The parameters of every float activation, input and logits included; empty before `observe`.
        weight_parameters: The parameters of weights whose scales were decided; others go by the largest magnitude.
        rounded: The stored integers of weights that were decided; others are the nearest ones.
        float_biases: Biases of the float network, where those of `workspace` take back what integers do.
    """

    graph: Graph
    workspace: Workspace
    preprocess: Preprocess
    pixels: QuantParams | None
    scheme: Scheme = DEFAULT
    activations: Mapping[Value, QuantParams] = field(default_factory=dict)
    weight_parameters: Mapping[Value, QuantParams] = field(default_factory=dict)
    rounded: Mapping[Value, Array] = field(default_factory=dict)
    float_biases: Mapping[Value, Array] = field(default_factory=dict)

    @property
    def floats(self) -> Workspace:
        """The weights with which `graph` computes what is wanted of the integers."""
        if not self.float_biases:
            return self.workspace
        floats = self.workspace.restricted(self.graph)
        for value, bias in self.float_biases.items():
            floats[value] = bias
        return floats

    @property
    def decisions(self) -> Decisions:
        """What the pass to integers is told."""
        return Decisions(self.scheme, self.activations, self.weight_parameters, self.rounded)


def prepare(model: Model, input_type: EdgeType = "uint8", scheme: Scheme = DEFAULT) -> Candidate:
    """Return a model's inference graph, ready to be observed.

    Raises:
        ExportError: operators that have no form in the scheme's precision, all of them named.
        UsageError: the scheme names layers that the model does not have.
    """
    return prepare_graph(*model.inference, model.preprocess, input_type, scheme)


def prepare_graph(
    graph: Graph, workspace: Workspace, preprocess: Preprocess, input_type: EdgeType = "uint8", scheme: Scheme = DEFAULT
) -> Candidate:
    """As `prepare`, for an inference graph that is at hand."""
    graph, workspace = integer_forms(graph, workspace)
    pixels = pixel_parameters(preprocess)
    if input_type == "uint8" and pixels is None:
        graph, workspace, preprocess = embed_normalisation(graph, workspace, preprocess)
        pixels = QuantParams((1.0,), (0,))
    candidate = Candidate(graph, workspace, preprocess, pixels, scheme)
    _check(candidate)
    return candidate


def observe(candidate: Candidate, images: Iterable[Array]) -> Candidate:
    """Return the candidate with the parameters of its activations, by the ranges seen on preprocessed images.

    `images` are batches (n, h, w, c), gone through once.

    Raises:
        DataError: there is no image, all pixels are equal, or the network makes numbers that are none.
        UsageError: an unknown observer.
    """
    _check(candidate)
    histograms = observer(candidate.scheme.observer).needs_histogram
    return observed_by(candidate, statistics(candidate.graph, candidate.floats, images, histograms))


def observed_by(candidate: Candidate, seen: Mapping[Value, Seen]) -> Candidate:
    """Return the candidate with the parameters that its scheme chooses of what was seen of its graph."""
    ranges = ranges_of(seen, candidate.graph, candidate.scheme)
    pixels = candidate.pixels or _pixels_of(ranges[Value(INPUT)])
    return replace(candidate, activations=activation_parameters_of(candidate.graph, ranges, pixels, candidate.scheme))


def integer_graph(
    candidate: Candidate, input_type: EdgeType = "uint8", output_type: EdgeType = "float32"
) -> tuple[Graph, Workspace]:
    """Return the graph on stored integers, from `input_type` to `output_type`, with its weights.

    Its values have the names of the float graph's, so that results can be compared by name.

    Raises:
        UsageError: the candidate was not observed, or not since nodes were added.
        ExportError: operators that have no form in their precision, all of them named; scales of an output that the
            specification fixes were changed.
    """
    _check(candidate)
    computed = [*candidate.graph.inputs, *(value for node in candidate.graph.nodes for value in node.outputs)]
    missing = [value for value in computed if value not in candidate.activations]
    if missing:
        raise UsageError(
            f"integer_graph: {len(missing)} of {len(computed)} activations have no scale yet, {missing[0]!r} among "
            "them; call observe first"
        )
    check_fixed(candidate.graph, candidate.activations, candidate.scheme)
    return to_integers(candidate.graph, candidate.workspace, candidate.decisions, input_type, output_type)


def _check(candidate: Candidate) -> None:
    candidate.scheme.check(candidate.graph)
    refuse_unsupported(candidate.graph, candidate.scheme)


def _pixels_of(seen: Range) -> QuantParams:
    """Return uint8 parameters that cover a range and 0, for an input whose normalisation stays outside."""
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    scale = float(np.float32((high - low) / 255))
    return QuantParams((scale,), (int(np.clip(round(-low / scale), 0, 255)),))
