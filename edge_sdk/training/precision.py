"""What `precision` may be, and whether this machine can compute in it."""

from __future__ import annotations

from collections.abc import Mapping

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.kernel import device_precisions

FLOAT32, FP16, BF16, TF32 = "float32", "fp16", "bf16", "tf32"
PRECISIONS = (FLOAT32, FP16, BF16, TF32)
DTYPES: Mapping[str, str] = {FP16: "float16", BF16: "bfloat16"}
"""What numbers are stored or multiplied in, by precision."""

_NEEDS = {
    FP16: "needs device 'gpu'; train with precision 'float32', or on a GPU",
    BF16: (
        "needs device 'gpu', or device 'cpu' on a processor with the instructions avx512_bf16 (AMD Zen 4, Intel Cooper "
        "Lake or Sapphire Rapids, and later); train with precision 'float32'"
    ),
    TF32: "needs an NVIDIA GPU, device 'gpu'; train with precision 'float32'",
}


def check_precision(precision: str, device: str = "cpu") -> None:
    """Raise UsageError for a precision that is unknown, or that `device` does not have on this machine.

    A run that was asked for bf16 does not silently become one in float32: it would take twice as long, and end with
    other bytes than the same command elsewhere.
    """
    if precision not in PRECISIONS:
        raise UsageError(
            f"precision {precision!r} is not one of {', '.join(PRECISIONS)}{suggestion(precision, PRECISIONS)}"
        )
    if precision != FLOAT32 and DTYPES.get(precision, precision) not in device_precisions(device):
        raise UsageError(f"precision {precision!r} on device {device!r}: it {_NEEDS[precision]}")


def stores_halves(precision: str, device: str) -> bool:
    """Tell whether activations are stored in 16 bits, as on a GPU, where on a processor only factors are rounded."""
    return precision in DTYPES and device == "gpu"
