"""Normalizations."""

from __future__ import annotations

from edge_sdk.converters.tflite.file_graph import FileOperator
from edge_sdk.converters.tflite.options import LocalResponseNormalizationOptions
from edge_sdk.converters.tflite.reading import Reading, reads
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.ops.norm import LocalResponseNorm


@reads(Builtin.LOCAL_RESPONSE_NORMALIZATION)
def local_response_norm(r: Reading, operator: FileOperator) -> None:
    """local_response_norm, whose alpha is divided by the number of channels summed."""
    options = operator.options(LocalResponseNormalizationOptions)
    size = 2 * options.radius + 1
    op = LocalResponseNorm(size=size, alpha=options.alpha * size, beta=options.beta, k=options.bias)
    r.emit(operator, op, r.value(operator, 0))
