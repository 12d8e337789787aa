"""The self-test of a file, recorded in the runtime and replayed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from edge_sdk.spec import Array

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset

Verdict = Literal["exact", "within tolerance", "different"]

FLOAT_TOLERANCE = {"none": 1e-3, "fp16": 1e-3, "dynamic": 0.1}
"""How far an output of a file with float activations may be off on another processor, as a share of the largest one.

Dynamic range quantizes activations by rules that differ between runtimes.
"""


@dataclass(frozen=True)
class Replay:
    """How the installed runtime did on the golden photos.

    Attributes:
        verdict: "exact": equal in every bit; "within tolerance": of an 8-bit file, one step; "different".
        photos: Their number.
        largest_difference: Of an output, in the output's own unit.
        tolerance: What is allowed, in the same unit.
        exact_promised: Whether runtimes with the arithmetic of the recording one must be exact.
        recorded_in, replayed_in: The runtimes.
    """

    verdict: Verdict
    photos: int
    largest_difference: float
    tolerance: float
    exact_promised: bool
    recorded_in: str
    replayed_in: str


def golden_pixels(photos: Dataset, rule: Preprocess) -> Array:
    """Return `PHOTOS` photos spread over a data set as pixels of the input's size, uint8 (n, height, width, channels).

    Photos that cannot be read are passed over; grey noise stands in where there is none.
    """
    from edge_sdk.errors import DataError

    found = []
    for index in _spread_indices(len(photos)):
        try:
            found.append(rule.crop(photos.photo(index)))
        except DataError:
            continue
        if len(found) == PHOTOS:
            break
    if not found:
        found = [np.random.default_rng(0).integers(0, 256, rule.shape, np.uint8)]
    pixels = np.stack(found)
    return pixels[..., ::-1] if rule.channels == "bgr" else pixels


def record(data: bytes, pixels: Array, rule: Preprocess, precision: str, graph: Graph) -> bytes:
    """Return the self-test entry of a finished file.

    The outputs are computed photo by photo on one thread. `rule` is what turns pixels into a float input.
    """
    limit = max(SMALLEST_LIMIT, int(SHARE * len(data)))
    shown, step, packed = compact(pixels, limit)
    file = TFLiteModel(data, "the finished file", threads=1)
    input_dtype = file.inputs[0].dtype
    raw = input_dtype == "uint8"
    channels = pixels.shape[3]
    mean, std = ((0.0,) * channels, (1.0,) * channels) if raw else (rule.mean, rule.std)
    unfinished = SelfTest(shown, np.empty(0), mean, std, input_dtype, exact=False, tolerance=0.0, runtime="")
    outputs = _run(file, unfinished.inputs)
    exact, tolerance = _promise(graph, precision, outputs)
    test = SelfTest(shown, outputs, mean, std, input_dtype, exact, tolerance, runtime_version(file.runtime))
    return to_bytes(test, step, packed)


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
    if np.array_equal(found, test.outputs):
        verdict = "exact"
    elif largest <= test.tolerance * (1 + 1e-6):
        verdict = "within tolerance"
    now = runtime_version(file.runtime)
    return Replay(verdict, len(found), largest, test.tolerance, test.exact, test.runtime, now)


def _run(file: TFLiteModel, inputs: Array) -> Array:
    name, result = file.inputs[0].name, file.outputs[0].name
    return np.concatenate([file.invoke({name: x[np.newaxis]})[result] for x in inputs])


def _promise(graph: Graph, precision: str, outputs: Array) -> tuple[bool, float]:
    """Return whether outputs must be equal elsewhere, and what they may differ by: one step of 8-bit logits."""
    share = FLOAT_TOLERANCE.get(precision)
    if share is not None:
        return False, float(share * max(float(np.abs(outputs).max()), 1e-6))
    if outputs.dtype == np.uint8:
        return True, 1.0
    last = graph.nodes[-1]
    scales = [node.op.scale for node in graph.nodes if isinstance(node.op, Dequantize)]
    if not scales:
        return False, float(1e-3 * max(float(np.abs(outputs).max()), 1e-6))
    if isinstance(last.op, Softmax):  # of floats; a logit moves a probability by a quarter of its own move at most
        return False, scales[-1] / 2
    return True, scales[-1]


def _spread_indices(count: int) -> Sequence[int]:
    """All indices, those that are spread evenly over the data set first."""
    first = [index * count // PHOTOS for index in range(min(PHOTOS, count))]
    return [*first, *(index for index in range(count) if index not in first)]
