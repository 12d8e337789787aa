"""Features that several processes compute: who computes which blocks, and how each comes to have all of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from edge_sdk.parallel.communicator import Communicator, share_of
from edge_sdk.parallel.stop import stop_asked

if TYPE_CHECKING:
    from edge_sdk.data.feature_store import FeatureStore


def blocks_to_compute(store: FeatureStore, forgotten: Collection[int], communicator: Communicator) -> list[int]:
    """Return this process's part of the blocks that no process has, in order.

    What one of them has `forgotten`, since a photo can be read again, is computed anew for all.
    """
    known = np.zeros((2, store.layout.blocks), np.int64)
    known[0] = _done(store)
    known[1, list(forgotten)] = 1
    communicator.allreduce_(known)
    for block in np.flatnonzero(known[1]).tolist():
        store.forget(block)
    missing: list[int] = np.flatnonzero((known[0] == 0) | (known[1] > 0)).tolist()
    return missing[share_of(len(missing), communicator.rank, communicator.size)]


def stop_together(communicator: Communicator) -> None:
    """Wait for all processes; raise KeyboardInterrupt in all if any was asked to stop."""
    stops = np.array([stop_asked()], np.int64)
    communicator.allreduce_(stops)
    if stops[0]:
        raise KeyboardInterrupt


def exchange(store: FeatureStore, communicator: Communicator) -> None:
    """Let each process have the blocks of all.

    Processes of one machine fill the same file, and find them there. Where a process has another folder, or none that
    can be written, it is sent what it lacks.
    """
    if communicator.size == 1:
        return
    store.look_again()
    has = np.zeros((communicator.size, store.layout.blocks), np.int64)
    has[communicator.rank] = _done(store)
    communicator.allreduce_(has)
    for block in np.flatnonzero(has.min(axis=0) == 0).tolist():
        rows, readable = store.block(block)
        for array in (rows, readable):
            communicator.broadcast_(array, root=int(has[:, block].argmax()))
        if not has[communicator.rank, block]:
            store.put(block, rows, readable == 1)


def _done(store: FeatureStore) -> list[bool]:
    return [store.done(block) for block in range(store.layout.blocks)]
