"""What the tests let several processes do: functions that a new process finds by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from tiny_models import LABELS, SIDE

import edge_sdk as edge
from edge_sdk.errors import UsageError
from edge_sdk.halves import to_bfloat16
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.parallel.communicator import Communicator, current_communicator
from edge_sdk.parallel.stop import stop_asked
from edge_sdk.preprocess import Preprocess
from edge_sdk.training.fit import Interrupted, Silent

ODD = 2_097_153
"""More float32 numbers than fit into two slots of shared memory, and no multiple of anything."""


def numbers(rank: int, count: int = ODD) -> Any:
    """What process `rank` has."""
    return np.random.default_rng(rank).standard_normal(count).astype(np.float32)


def exchanged(communicator: Communicator | None = None) -> dict[str, Any]:
    """Results of all methods of a communicator, and what there is to compare them with."""
    communicator = communicator or current_communicator()
    rank, size = communicator.rank, communicator.size
    total, mean = numbers(rank), numbers(rank)
    counts = np.array([[rank, 1]], np.int64)
    bits = to_bfloat16(numbers(rank, 5))
    chosen = np.full(3, rank, np.float64)
    nothing = np.empty(0, np.float32)
    communicator.allreduce_(total)
    communicator.allreduce_(mean, "mean")
    communicator.allreduce_(counts)
    communicator.allreduce_(bits, "mean")
    communicator.allreduce_(nothing)
    communicator.broadcast_(chosen, root=size - 1)
    communicator.barrier()
    everywhere = np.zeros((size, 2), np.float64)
    everywhere[rank] = total.sum(), mean.sum()
    communicator.allreduce_(everywhere)
    return {
        "size": size, "total": total, "mean": mean, "counts": counts, "bits": bits, "chosen": chosen,
        "everywhere": everywhere,
    }  # fmt: skip


def plain_model() -> Model:
    """Convolutions and a head: no batch norm, whose statistics are of a process's own rows, and no dropout."""
    net = Network("plain", (SIDE, SIDE, 3), 0)
    x = net.activation(net.conv(net.image, 8, 3, "first", 2, bias=True), "relu")
    x = net.activation(net.conv(x, 16, 3, "second", 2, bias=True), "relu")
    graph, workspace = net.head(net.global_average_pool(x), 3)
    return Model(graph, workspace, Preprocess((SIDE, SIDE), mean=(127.0,) * 3, std=(128.0,) * 3), LABELS)


def trained(photos: str, out: str | None, settings: dict[str, Any], stop_after: int = 0) -> dict[str, Any]:
    """Train, and return the losses, the weights, and how many processes ended with the same ones."""
    communicator = current_communicator()
    run = edge.fit(plain_model(), photos, out=out, listener=_Stopper(stop_after), **settings)
    weights = {str(name): run.model.workspace[name] for name in sorted(run.model.graph.params)}
    mine = np.concatenate([array.ravel() for array in weights.values()]).astype(np.float64)
    first = mine.copy()
    communicator.broadcast_(first)
    same = np.array([np.array_equal(mine, first)], np.int64)
    communicator.allreduce_(same)
    return {
        "losses": [metrics.loss for metrics in run.history],
        "accuracies": [(metrics.train_accuracy, metrics.validation_accuracy) for metrics in run.history],
        "weights": weights,
        "same": int(same[0]),
    }


class _Stopper(Silent):
    """Presses Ctrl-C in the process that started the others, after some steps of the first."""

    def __init__(self, after: int) -> None:
        self.left = after

    def on_batch(self, epoch: int, batch: int, loss: float) -> None:
        """Count down."""
        self.left -= 1
        if self.left == 0:
            os.kill(os.getppid(), signal.SIGINT)
            while not stop_asked():
                time.sleep(0.01)


def fails(rank: int, how: str) -> None:
    """Let one process fail while the others wait for it."""
    communicator = current_communicator()
    if communicator.rank == rank:
        if how == "error":
            raise UsageError("this one cannot")
        if how == "defect":
            raise ZeroDivisionError("a defect")
        os._exit(3)
    communicator.barrier()


def environment() -> list[tuple[str, str]]:
    """The GPU and the threads of each process, -1 where it sees no GPU."""
    communicator = current_communicator()
    seen = np.zeros((communicator.size, 2), np.int64)
    seen[communicator.rank] = int(os.environ["CUDA_VISIBLE_DEVICES"] or -1), edge.get_threads()
    communicator.allreduce_(seen)
    return [(str(gpu), str(threads)) for gpu, threads in seen]


def written(folder: Path) -> list[str]:
    """The files of a run."""
    return sorted(path.name for path in folder.iterdir())


__all__ = ["Interrupted", "environment", "exchanged", "fails", "numbers", "plain_model", "trained", "written"]
