"""The precisions that a model can be exported in, and what every exporter holds its files against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from edge_sdk.errors import DataError, UsageError
from edge_sdk.model import Model
from edge_sdk.quantization.calibration import KEPT_BYTES as CALIBRATION_BYTES
from edge_sdk.quantization.photo_check import check_photos
from edge_sdk.quantization.post_training import check_photos_for
from edge_sdk.quantization.rounded_model import rounds
from edge_sdk.quantization.scheme import Scheme

if TYPE_CHECKING:
    from edge_sdk.compression.palette import PaletteBits
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.source import PhotoSource

Precision = Literal["none", "fp16", "dynamic", "int8"]
Weights = Literal["float32", "float16", "int8"]

WEIGHTS: Mapping[str, Weights] = {"none": "float32", "fp16": "float16", "dynamic": "int8", "int8": "float32"}
"""How weights are stored in each precision; those of an int8 graph are int8 already."""

TFLitePrecision = Literal["none", "fp16", "dynamic", "int8", "int16x8"]
"""Those of .tflite files, which alone have int8 weights under int16 activations."""
TFLITE_WEIGHTS: Mapping[str, Weights] = {**WEIGHTS, "int16x8": "float32"}

CoreMLPrecision = Literal["none", "fp16", "dynamic", "int8", "palette4", "palette6"]
"""Those of Core ML packages, which alone store tables of weights."""
PALETTE_BITS: Mapping[str, PaletteBits] = {"palette4": 4, "palette6": 6}
"""How many bits an index into such a table has."""

INTEGERS = frozenset({"int8", "int16x8"})
"""Precisions in which everything is integers, by scales that photos decide."""

UNASKED_CHECK_PHOTOS = 200
"""How many calibration photos a file is compared on when no others are given."""

FLOAT_TOLERANCE = 1e-4
"""How far a float32 file may be from the model, as a share of the largest logit."""


def check_precision_of(
    model: Model, precision: TFLitePrecision | CoreMLPrecision, calibrate: PhotoSource | None
) -> None:
    """Raise UsageError where a model has no numbers in this precision, needs photos for them, or has its own."""
    if precision == "int8":
        check_photos_for(model, calibrate)
    elif rounds(model):
        raise UsageError(
            f"{model.name} was trained in 8-bit numbers, and is exported with quantize='int8' (--quantize int8), not "
            f"{precision!r}"
        )
    elif precision in INTEGERS and calibrate is None:
        raise UsageError(
            f"{precision} needs photos to calibrate on: give calibrate= (--calibrate), photos like those in use"
        )


def opened_calibration(model: Model, calibrate: PhotoSource | None) -> Dataset | None:
    """Return calibration photos, if there are any, so that all who look at them decode them once."""
    from edge_sdk.data.source import open_decoded

    return None if calibrate is None else open_decoded(calibrate, model.labels, CALIBRATION_BYTES)


def calibration_findings(model: Model, calibrate: PhotoSource | None, check: PhotoSource | None) -> tuple[str, ...]:
    """Return what may be wrong with calibration photos, if there are any; raises DataError for what cannot be right."""
    found = [] if calibrate is None else check_photos(model, calibrate, check)
    for finding in found:
        if finding.level == "error":
            raise DataError(f"calibration: {finding.message}")
    return tuple(finding.message for finding in found)


def scheme_of(precision: TFLitePrecision, scheme: Scheme) -> Scheme:
    """Return the scheme of a precision; raises UsageError for weights that it does not have."""
    if precision != "int16x8":
        return scheme
    if scheme.weights != "int8":
        raise UsageError(f"int16x8 has weights of 8 bits, not {scheme.weights}; int4 weights (--weights) are for int8")
    return replace(scheme, activations="int16")
