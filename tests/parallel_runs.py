"""What the tests let several processes do: functions that a new process finds by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from own_cache import own_cache
from tiny_models import LABELS, SIDE, tiny_model

import edge_sdk as edge
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.feature_store import FeatureStore
from edge_sdk.data.loader import Unreadable
from edge_sdk.errors import UsageError
from edge_sdk.evaluation import accuracy_over_processes
from edge_sdk.halves import to_bfloat16
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.parallel.communicator import Communicator, current_communicator
from edge_sdk.parallel.stop import stop_asked
from edge_sdk.preprocess import Preprocess
from edge_sdk.training.fit import Interrupted, Listener, Silent

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


def trained(
    photos: str, out: str | None, settings: dict[str, Any], stop_after: int = 0,
    model: Callable[[], Model] = plain_model, listener: Listener | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train, and return the losses, the weights, and how many processes ended with the same weights and figures."""
    communicator = current_communicator()
    run = edge.fit(model(), photos, out=out, listener=listener or _Stopper(stop_after), **settings)
    weights = {str(name): run.model.workspace[name] for name in sorted(run.model.graph.params)}
    figures = [[m.loss, m.train_accuracy, m.validation_accuracy or 0.0] for m in run.history]
    mine = np.concatenate([array.ravel() for array in (*weights.values(), np.array(figures))]).astype(np.float64)
    first = mine.copy()
    communicator.broadcast_(first)
    same = np.array([np.array_equal(mine, first)], np.int64)
    communicator.allreduce_(same)
    return {
        "losses": [metrics.loss for metrics in run.history],
        "accuracies": [(metrics.train_accuracy, metrics.validation_accuracy) for metrics in run.history],
        "weights": weights,
        "unreadable": run.unreadable,
        "same": int(same[0]),
    }


def numbered(photos: int, junk: Sequence[int] = ()) -> tuple[Model, ArrayDataset, int]:
    """A model, photos of which it knows all but every third, and how many it knows; some of them cannot be read."""
    model, random = tiny_model(), np.random.default_rng(5)
    pixels = list(random.integers(0, 256, (photos, SIDE, SIDE, 3), np.uint8))
    best = edge.evaluate(model, ArrayDataset.of(pixels, [0] * photos, LABELS)).predictions
    labels = [(int(label) + (index % 3 == 0)) % 3 for index, label in enumerate(best)]
    known = sum(index % 3 != 0 and index not in junk for index in range(photos))
    chosen = [b"junk" if index in junk else photo for index, photo in enumerate(pixels)]
    return model, ArrayDataset.of(chosen, labels, LABELS), known


class _Counted:
    """A model, and how often it was run."""

    def __init__(self, model: Model) -> None:
        self._model, self.runs = model, 0
        self.labels, self.preprocess = model.labels, model.preprocess

    def run(self, x: Any) -> Any:
        """Count."""
        self.runs += 1
        return self._model.run(x)


def validated(sizes: Sequence[int], junk: Sequence[int]) -> tuple[list[list[float]], list[int]]:
    """What each process is told of data sets of these sizes, and how often it ran the model on the last one."""
    communicator = current_communicator()
    told = np.zeros((communicator.size, len(sizes) + 1))
    for column, size in enumerate(sizes):
        model, data, _ = numbered(size, junk)
        counted = _Counted(model)
        told[communicator.rank, column] = accuracy_over_processes(counted, data, 4, communicator)
        told[communicator.rank, -1] = counted.runs
    communicator.allreduce_(told)
    return told[:, :-1].tolist(), told[:, -1].tolist()


def trained_on_features(
    photos: str, out: str | None, settings: dict[str, Any], cache: str = "", stop: str = ""
) -> dict[str, Any]:
    """`trained`, with how many blocks of features each process wrote, and what the first one was told.

    With a `cache` each process keeps features in a folder of its own below that; with `stop` Ctrl-C is pressed when the
    first block is there.
    """
    communicator = current_communicator()
    if cache:
        os.environ["EDGE_CACHE"] = str(own_cache(Path(cache) / str(communicator.rank)))
    put, written = FeatureStore.put, np.zeros(communicator.size, np.int64)

    def counted(store: FeatureStore, *arguments: Any) -> None:
        written[communicator.rank] += 1
        put(store, *arguments)

    FeatureStore.put = counted  # type: ignore[method-assign] # of this process, which ends with this function
    told = _Told(stop=bool(stop))
    try:
        found = trained(photos, out, settings, listener=told)
    finally:
        FeatureStore.put = put  # type: ignore[method-assign]
    communicator.allreduce_(written)
    return {**found, "written": written.tolist(), "told": told.rows, "torn": told.unreadable, "notes": told.notes}


class _Told(Silent):
    """Keeps what it is told of features."""

    def __init__(self, *, stop: bool) -> None:
        self.stop = stop
        self.rows: list[tuple[int, int]] = []
        self.notes: list[str] = []
        self.unreadable: list[str] = []

    def on_features(self, done: int, total: int) -> None:
        """Keep the numbers."""
        self.rows.append((done, total))
        if self.stop:
            press_ctrl_c()

    def on_note(self, message: str) -> None:
        """Keep the note."""
        self.notes.append(message)

    def on_unreadable(self, photo: Unreadable) -> None:
        """Keep the name."""
        self.unreadable.append(photo.name)


def press_ctrl_c() -> None:
    """Press it in the process that started the others, and wait until this one knows."""
    os.kill(os.getppid(), signal.SIGINT)
    while not stop_asked():
        time.sleep(0.01)


class _Stopper(Silent):
    """Presses Ctrl-C after some steps of the first process."""

    def __init__(self, after: int) -> None:
        self.left = after

    def on_batch(self, epoch: int, batch: int, loss: float) -> None:
        """Count down."""
        self.left -= 1
        if self.left == 0:
            press_ctrl_c()


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


__all__ = [
    "Interrupted", "environment", "exchanged", "fails", "numbered", "numbers", "plain_model", "trained",
    "trained_on_features", "validated", "written",
]  # fmt: skip
