"""What `precision` may be, and whether this machine can compute in it."""

from __future__ import annotations

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.kernel import device_precisions

FLOAT32, BF16, TF32 = "float32", "bf16", "tf32"
PRECISIONS = (FLOAT32, BF16, TF32)


def check_precision(precision: str, device: str = "cpu") -> None:
    """Raise UsageError for a precision that is unknown, or that `device` does not have on this machine.

    A run that was asked for bf16 does not silently become one in float32: it would take twice as long, and end with
    other bytes than the same command elsewhere.
    """
    if precision not in PRECISIONS:
        raise UsageError(
            f"precision {precision!r} is not one of {', '.join(PRECISIONS)}{suggestion(precision, PRECISIONS)}"
        )
    if precision == BF16 and "bfloat16" not in device_precisions(device):
        raise UsageError(
            f"precision 'bf16' needs device 'cpu' on a processor with the instructions avx512_bf16 (AMD Zen 4, Intel "
            f"Cooper Lake or Sapphire Rapids, and later), and device {device!r} here has none; train with precision "
            "'float32'"
        )
    if precision == TF32 and TF32 not in device_precisions(device):
        raise UsageError(
            f"precision 'tf32' needs an NVIDIA GPU, and device is {device!r}; train with precision 'float32'"
        )
