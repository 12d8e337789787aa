"""Naive kernels of the communication family: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.communication import FinishMean, StartMean
from edge_sdk.parallel.communicator import current_communicator
from edge_sdk.spec import Array


@kernel(StartMean, "reference")
def start_mean(op: StartMean, out: Array | tuple[Array, ...], *arrays: Array) -> None:
    for result, array in zip(out if isinstance(out, tuple) else (out,), arrays, strict=True):
        np.copyto(result, array)
        current_communicator().allreduce_(result, "mean")


@kernel(FinishMean, "reference")
def finish_mean(op: FinishMean, out: Array | tuple[Array, ...], *arrays: Array) -> None:
    for result, array in zip(out if isinstance(out, tuple) else (out,), arrays, strict=True):
        np.copyto(result, array)
