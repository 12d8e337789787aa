"""Means over processes: on a stream of their own, between the nodes that begin with them and those that wait."""

from __future__ import annotations

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.launch import sequence
from edge_sdk.kernels.gpu.loops import map_elements
from edge_sdk.ops.communication import FinishMean, StartMean
from edge_sdk.parallel.communicator import current_communicator
from edge_sdk.spec import Array


@kernel(StartMean, "gpu", binds=True)
def start_mean(op: StartMean, out: Array | tuple[Array, ...], *arrays: Array) -> Call:
    results = out if isinstance(out, tuple) else (out,)
    exchange = current_driver().exchange(current_communicator())
    # What travels is the result, which nobody else touches before it is waited for.
    return sequence([*_copies(results, arrays), Call(exchange.start, (results,))])


@kernel(FinishMean, "gpu", binds=True)
def finish_mean(op: FinishMean, out: Array | tuple[Array, ...], *arrays: Array) -> Call:
    results = out if isinstance(out, tuple) else (out,)
    exchange = current_driver().exchange(current_communicator())
    return sequence([Call(exchange.finish, (arrays,)), *_copies(results, arrays)])


def _copies(results: tuple[Array, ...], arrays: tuple[Array, ...]) -> list[Call]:
    """Copies of arrays to their results, but for those that the memory plan gave the same place."""
    address = current_driver().address
    return [
        map_elements("control", "copy", result, array)
        for result, array in zip(results, arrays, strict=True)
        if address(result) != address(array)
    ]
