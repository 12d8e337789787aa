"""The precisions that a model can be exported in, and what every exporter holds its files against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Precision = Literal["none", "fp16", "dynamic", "int8"]
Weights = Literal["float32", "float16", "int8"]

WEIGHTS: Mapping[str, Weights] = {"none": "float32", "fp16": "float16", "dynamic": "int8", "int8": "float32"}
"""How weights are stored in each precision; those of an int8 graph are int8 already."""

UNASKED_CHECK_PHOTOS = 200
"""How many calibration photos a file is compared on when no others are given."""

FLOAT_TOLERANCE = 1e-4
"""How far a float32 file may be from the model, as a share of the largest logit."""
