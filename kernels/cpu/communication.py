"""Means over processes: at once, since the processor that would carry them meanwhile is the one that computes."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.communication import FinishMean, StartMean
from edge_sdk.parallel.communicator import current_communicator
from edge_sdk.spec import Array


@kernel(StartMean, "cpu")
def start_mean(op: StartMean, out: Array | tuple[Array, ...], *arrays: Array) -> None:
    communicator = current_communicator()
    for result, array in _pairs(out, arrays):
        _copy(result, array)
        communicator.allreduce_(result, "mean")


@kernel(FinishMean, "cpu")
def finish_mean(op: FinishMean, out: Array | tuple[Array, ...], *arrays: Array) -> None:
    for result, array in _pairs(out, arrays):
        _copy(result, array)


def _pairs(out: Array | tuple[Array, ...], arrays: tuple[Array, ...]) -> zip[tuple[Array, Array]]:
    return zip(out if isinstance(out, tuple) else (out,), arrays, strict=True)


def _copy(target: Array, source: Array) -> None:
    if target.ctypes.data != source.ctypes.data:  # the memory plan may have given both the same place
        np.copyto(target, source)
