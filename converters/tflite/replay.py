"""The self-test of a file, recorded in the runtime and replayed there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_sdk.converters.tflite.runtime import TFLiteModel, runtime_version
from edge_sdk.converters.tflite.self_test import (
    PHOTOS,
    SHARE,
    SMALLEST_LIMIT,
    SelfTest,
    compact,
    read_self_test,
    to_bytes,
)
from edge_sdk.errors import FormatError
from edge_sdk.graph import Graph
from edge_sdk.ops.activation import Softmax
from edge_sdk.ops.quantization import Dequantize
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.profile import DEFAULT, PROFILES
from edge_sdk.spec import Array

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset

Verdict = Literal["exact", "within tolerance", "other arithmetic", "different"]

FLOAT_TOLERANCE = {"none": 1e-3, "fp16": 1e-3, "dynamic": 0.1}
"""How far an output of a file with float activations may be off on another processor, as a share of the largest one.

Dynamic range quantizes activations by rules that differ between runtimes.
"""

MARGIN = 4
"""In another runtime an 8-bit file may be off by so many times what this one's sets of kernels differ by.

They round in different ways, and a step a layer adds up, more in one network than in another: so it is measured on the
golden photos, for each file. Where the sets agree, it is so many steps. EfficientNet-Lite0 is off by 5 steps of 256
between ai-edge-litert 2.3 and tflite-runtime 2.14.
"""
_LONGEST = 1.2345678901234567e-100
"""No number takes more room in JSON."""
WIDE_STEPS = 16
"""How many steps of 16-bit outputs, which are 256 times smaller, count as one there."""


@dataclass(frozen=True)
class Replay:
    """How the installed runtime did on the golden photos.

    Attributes:
        verdict: "exact": equal in every bit; "within tolerance": of an 8-bit file, one step; "other
            arithmetic": more, but no more than `limit`, in another runtime than the recording one; "different".
        photos: Their number.
        largest_difference: Of an output, in the output's own unit.
        tolerance, limit: What is allowed, in the same unit: in the recording runtime, and in others.
        exact_promised: Whether runtimes with the arithmetic of the recording one must be exact.
        recorded_in, replayed_in: The runtimes.
    """

    verdict: Verdict
    photos: int
    largest_difference: float
    tolerance: float
    limit: float
    exact_promised: bool
    recorded_in: str
    replayed_in: str


def golden_pixels(photos: Dataset, rule: Preprocess) -> Array:
    """Return `PHOTOS` photos spread over a data set as pixels of the input's size, uint8 (n, height, width, channels).

    Photos that cannot be read are passed over; grey noise stands in where there is none.
    """
    from edge_sdk.data.decoded import Decoded
    from edge_sdk.errors import DataError

    found = []
    decoded = Decoded.of(photos)
    for index in _spread_indices(len(photos)):
        try:
            found.append(decoded.crop(index, rule))
        except DataError:
            continue
        if len(found) == PHOTOS:
            break
    if not found:
        found = [np.random.default_rng(0).integers(0, 256, rule.shape, np.uint8)]
    return np.stack(found)


def record(data: bytes, pixels: Array, rule: Preprocess, precision: str, graph: Graph) -> bytes:
    """Return the self-test entry of a finished file.

    The outputs are computed photo by photo on one thread. `rule` is what turns pixels into a float input.
    """
    shown, spacing, packed = compact(pixels, max(SMALLEST_LIMIT, int(SHARE * len(data))))
    file = TFLiteModel(data, "the finished file", threads=1)
    unfinished = _unfinished(shown, rule, file.inputs[0].dtype)
    outputs = _run(file, unfinished.inputs)
    exact, tolerance, of_integers = _promise(graph, precision, outputs)
    limit = tolerance
    if of_integers:
        step = tolerance * (WIDE_STEPS if _leaves_wide(graph) else 1)
        limit = limit_elsewhere(step, outputs, list(_answers_of_other_kernels(data, unfinished.inputs)))
    test = replace(
        unfinished, outputs=outputs, exact=exact, tolerance=tolerance, limit=limit,
        runtime=runtime_version(file.runtime),
    )  # fmt: skip
    return to_bytes(test, spacing, packed)


def stand_in(data: bytes, pixels: Array, rule: Preprocess, graph: Graph) -> bytes:
    """Return an entry that is as long as the one `record` makes, or some bytes longer; nothing is run."""
    shown, spacing, packed = compact(pixels, max(SMALLEST_LIMIT, int(SHARE * len(data))))
    taken, given = (graph.specs[values[0]] for values in (graph.inputs, graph.outputs))
    test = replace(
        _unfinished(shown, rule, taken.dtype), outputs=np.zeros((len(shown), *given.shape[1:]), given.dtype),
        tolerance=_LONGEST, limit=_LONGEST, runtime="x" * 64,
    )  # fmt: skip
    return to_bytes(test, spacing, packed)


def _unfinished(shown: Array, rule: Preprocess, input_dtype: str) -> SelfTest:
    """The test of golden photos whose outputs are not there yet."""
    channels = shown.shape[3]
    raw = input_dtype == "uint8"
    mean, std = ((0.0,) * channels, (1.0,) * channels) if raw else (rule.mean, rule.std)
    return SelfTest(shown, np.empty(0), mean, std, input_dtype, exact=False, tolerance=0.0, limit=0.0, runtime="")


def replay(file: TFLiteModel, entry: bytes) -> Replay:
    """Run the golden photos of `entry` through an open file and compare.

    Raises:
        FormatError: the entry is damaged, or is of a file with other inputs or outputs.
    """
    test = read_self_test(entry, file.name)
    info, result = file.inputs[0], file.outputs[0]
    fits = test.pixels.shape[1:] == info.shape[1:] and test.input_dtype == info.dtype
    if not fits or test.outputs.dtype.name != result.dtype or test.outputs.shape[1:] != result.shape[1:]:
        raise FormatError(f"{file.name}: its self-test is of another file: the tensors have other sizes or types")
    found = _run(file, test.inputs)
    difference = np.abs(found.astype(np.float64) - test.outputs.astype(np.float64))
    largest = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    verdict: Verdict = "different"
    now = runtime_version(file.runtime)
    if np.array_equal(found, test.outputs):
        verdict = "exact"
    elif largest <= test.tolerance * (1 + 1e-6):
        verdict = "within tolerance"
    elif now != test.runtime and largest <= test.limit * (1 + 1e-6):
        verdict = "other arithmetic"
    return Replay(verdict, len(found), largest, test.tolerance, test.limit, test.exact, test.runtime, now)


def _run(file: TFLiteModel, inputs: Array) -> Array:
    name, result = file.inputs[0].name, file.outputs[0].name
    return np.concatenate([file.invoke({name: x[np.newaxis]})[result] for x in inputs])


def _answers_of_other_kernels(data: bytes, inputs: Array) -> Iterator[Array]:
    """What the runtime's sets of kernels but the default one make of photos, of those that know all operators."""
    for profile in PROFILES:
        if profile != DEFAULT:
            with contextlib.suppress(FormatError):  # the naive kernels have no depthwise weights of 4 bits
                yield _run(TFLiteModel(data, "the finished file", 1, profile), inputs)


def limit_elsewhere(step: float, outputs: Array, others: Sequence[Array]) -> float:
    """Return how far the outputs of an 8-bit file may be off in a runtime that rounds otherwise.

    `step` is one of the output, `others` what other sets of kernels make of the same photos.
    """
    off = (np.abs(other.astype(np.float64) - outputs.astype(np.float64)).max() for other in others)
    return MARGIN * max([step, *(float(one) for one in off)])


def _promise(graph: Graph, precision: str, outputs: Array) -> tuple[bool, float, bool]:
    """Return whether outputs must be equal elsewhere, what they may differ by, and whether they come of integers."""
    largest = max(float(np.abs(outputs).max()), 1e-6)
    scales = [node.op.scale for node in graph.nodes if isinstance(node.op, Dequantize)]
    share = FLOAT_TOLERANCE.get(precision, None if scales or outputs.dtype == np.uint8 else FLOAT_TOLERANCE["none"])
    if share is not None:
        return False, share * largest, False
    if outputs.dtype == np.uint8:
        return True, 1.0, True
    step = scales[-1]
    if isinstance(graph.nodes[-1].op, Softmax):  # of floats: a probability moves by half of what the logits do at most
        return False, step / 2, True
    return True, step, True


def _leaves_wide(graph: Graph) -> bool:
    """Tell whether the last numbers that are dequantized have 16 bits."""
    last = [node for node in graph.nodes if isinstance(node.op, Dequantize)]
    return bool(last) and graph.specs[last[-1].inputs[0]].dtype == "int16"


def _spread_indices(count: int) -> Sequence[int]:
    """All indices, those that are spread evenly over the data set first."""
    first = [index * count // PHOTOS for index in range(min(PHOTOS, count))]
    return [*first, *(index for index in range(count) if index not in first)]
