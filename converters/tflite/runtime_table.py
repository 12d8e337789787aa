"""Which TensorFlow Lite runtime has which version of an operator.

Source: tflite/converter/tools/versioning/runtime_version.cc of google-ai-edge/LiteRT (August 2026), the operators that
are written or read here. The numbers are TensorFlow Lite's, whose 2.17 is LiteRT 1.0; the releases of LiteRT since are
newer than all that stand here.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_sdk.converters.tflite.schema import Builtin

Runtime = tuple[int, int, int]
"""A release: major, minor, patch."""

_FIRST_RUNTIMES: Mapping[Builtin, str] = {
    Builtin.ABS: "1.13.0 2.4.0 2.5.0 2.6.0 2.12.0",
    Builtin.ADD: "1.5.0 1.14.0 2.4.0 2.6.0 2.13.0 2.23.0",
    Builtin.AVERAGE_POOL_2D: "1.5.0 1.14.0 2.3.0",
    Builtin.BATCH_MATMUL: "2.3.0 2.3.0 2.4.0 2.5.0",
    Builtin.BROADCAST_TO: "- 2.5.0 2.5.0 2.23.0",
    Builtin.CAST: "1.5.0 2.7.0 2.8.0 2.9.0 2.12.0 2.15.0 2.17.0 2.21.0 2.23.0",
    Builtin.CONCATENATION: "1.5.0 1.14.0 2.3.0 2.14.0 2.21.0 2.23.0 2.23.0",
    Builtin.CONV_2D: "1.5.0 1.14.0 1.14.0 2.3.0 2.4.0 2.9.0 2.11.0 2.15.0",
    Builtin.DEPTHWISE_CONV_2D: "1.5.0 1.12.0 1.14.0 2.2.0 2.3.0 2.3.0 2.11.0",
    Builtin.DEPTH_TO_SPACE: "2.1.0 2.5.0",
    Builtin.DEQUANTIZE: "1.13.1 1.14.0 1.15.0 2.2.0 2.7.0 2.18.0 2.21.0 2.22.0 2.23.0",
    Builtin.DIV: "1.6.0 2.3.0",
    Builtin.EXP: "1.7.0 2.12.0",
    Builtin.EXPAND_DIMS: "1.10.0",
    Builtin.FILL: "1.13.0 2.3.0 2.5.0 2.12.0 2.23.0",
    Builtin.FULLY_CONNECTED: (
        "1.5.0 1.10.0 1.14.0 1.14.0 2.0.0 2.1.0 2.3.0 2.3.0 2.3.0 2.11.0 2.15.0 2.17.0 2.18.0 2.21.0"
    ),
    Builtin.GATHER: "1.6.0 1.14.0 1.15.0 2.4.0 2.5.0 2.13.0 2.15.0 2.23.0",
    Builtin.GELU: "2.9.0 2.9.0 2.23.0",
    Builtin.HARD_SWISH: "1.15.0",
    Builtin.LEAKY_RELU: "1.13.1 2.3.0",
    Builtin.LOCAL_RESPONSE_NORMALIZATION: "1.5.0",
    Builtin.LOG: "1.14.0 2.15.0",
    Builtin.LOGISTIC: "1.14.0 1.14.0 2.3.0",
    Builtin.LOG_SOFTMAX: "1.14.0 1.14.0",
    Builtin.MAXIMUM: "1.14.0 1.14.0 2.3.0 2.3.0",
    Builtin.MAX_POOL_2D: "1.5.0 1.14.0 2.3.0",
    Builtin.MEAN: "1.6.0 1.14.0 2.4.0",
    Builtin.MINIMUM: "1.14.0 1.14.0 2.3.0 2.3.0",
    Builtin.MIRROR_PAD: "1.13.1 2.3.0 2.12.0",
    Builtin.MUL: "1.5.0 1.14.0 1.15.0 2.3.0 2.6.0 2.11.0 2.13.0 2.23.0",
    Builtin.NEG: "1.9.0",
    Builtin.ONE_HOT: "1.11.0",
    Builtin.PACK: "1.11.0 1.14.0 2.3.0 2.13.0 2.23.0",
    Builtin.PAD: "1.5.0 1.14.0 2.4.0 2.6.0 2.20.0 2.23.0",
    Builtin.PADV2: "1.9.0 1.14.0 2.4.0 2.6.0 2.20.0 2.23.0",
    Builtin.POW: "1.10.0",
    Builtin.PRELU: "1.8.0",
    Builtin.QUANTIZE: "1.14.0 1.15.0 2.7.0 2.21.0 2.21.0 2.21.0",
    Builtin.REDUCE_MAX: "1.11.0 1.14.0 2.5.0",
    Builtin.REDUCE_MIN: "1.11.0 1.14.0 2.5.0",
    Builtin.RELU: "1.5.0 2.1.0 2.5.0",
    Builtin.RELU6: "1.5.0 1.14.0 2.5.0",
    Builtin.RELU_0_TO_1: "2.10.0",
    Builtin.RELU_N1_TO_1: "1.5.0",
    Builtin.RESHAPE: "1.5.0",
    Builtin.RESIZE_BILINEAR: "1.7.0 1.14.0 2.2.0 2.5.0",
    Builtin.RESIZE_NEAREST_NEIGHBOR: "1.13.1 1.14.0 2.3.0 2.4.0",
    Builtin.RSQRT: "1.10.0 2.5.0 2.15.0",
    Builtin.SHAPE: "1.10.0",
    Builtin.SLICE: "1.14.0 1.14.0 1.14.0 2.4.0 2.5.0 2.14.0 2.21.0 2.23.0",
    Builtin.SOFTMAX: "1.5.0 1.14.0 2.3.0 2.23.0",
    Builtin.SPACE_TO_DEPTH: "1.5.0 1.14.0",
    Builtin.SPLIT: "1.5.0 1.14.0 1.14.0 2.3.0 2.23.0",
    Builtin.SPLIT_V: "1.13.1 2.3.0 2.23.0",
    Builtin.SQRT: "1.10.0 2.21.0",
    Builtin.SQUARE: "1.12.0",
    Builtin.SQUARED_DIFFERENCE: "1.13.1 2.5.0",
    Builtin.SQUEEZE: "1.6.0 2.5.0",
    Builtin.STRIDED_SLICE: "1.6.0 1.14.0 2.1.0 2.2.0 2.5.0 2.6.0 2.14.0 2.14.0",
    Builtin.SUB: "1.6.0 1.14.0 2.3.0 2.4.0 2.4.0",
    Builtin.SUM: "1.10.0 1.15.0",
    Builtin.TANH: "1.14.0 1.14.0 2.3.0",
    Builtin.TILE: "1.10.1 2.2.0 2.8.0",
    Builtin.TRANSPOSE: "1.6.0 1.14.0 1.15.0 2.3.0 2.4.0 2.12.0 2.14.4 2.22.0 2.23.0",
    Builtin.TRANSPOSE_CONV: "1.9.0 2.2.0 2.3.0 2.13.0 2.15.0",
    Builtin.UNPACK: "1.11.0 1.14.0 2.2.0 2.3.0 2.22.0 2.23.0",
}
"""By operator, the first runtime of version 1, version 2 and so on; a dash where no runtime is recorded."""


def parse(text: str) -> Runtime:
    """Return a release written as "2.14" or "2.14.0"; raises ValueError for anything else."""
    numbers = [int(part) for part in text.split(".")]
    if not 2 <= len(numbers) <= 3 or min(numbers) < 0:
        raise ValueError(text)
    return (numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 0)


def show(runtime: Runtime) -> str:
    """Return a release as text, without the patch where that is 0."""
    return ".".join(map(str, runtime if runtime[2] else runtime[:2]))


SINCE: Mapping[tuple[Builtin, int], Runtime] = {
    (code, version): parse(runtime)
    for code, releases in _FIRST_RUNTIMES.items()
    for version, runtime in enumerate(releases.split(), 1)
    if runtime != "-"
}
"""The oldest runtime of each version of each operator."""

NEWEST: Runtime = max(SINCE.values())
"""The newest runtime that the table knows."""
