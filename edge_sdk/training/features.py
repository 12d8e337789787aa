"""Features of photos under the frozen part of a network: computed once, kept in a file, gathered by row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_sdk.errors import DataError
from edge_sdk.launched_runs import LaunchedRuns
from edge_sdk.model import INPUT
from edge_sdk.parallel.communicator import Alone, Communicator
from edge_sdk.parallel.stop import stop_asked
from edge_sdk.session import Session
from edge_sdk.spec import Array
from edge_sdk.training.frozen_part import FrozenPart, bytes_of
from edge_sdk.training.shared_features import blocks_to_compute, exchange, stop_together

if TYPE_CHECKING:
    from edge_sdk.data.augment import Augment
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.feature_store import FeatureStore, Layout
    from edge_sdk.data.loader import Batch, Loader, Unreadable
    from edge_sdk.preprocess import Preprocess

KEPT_PIXELS = 256 << 20
"""Bytes of decoded crops that are kept from view to view."""


@dataclass(frozen=True)
class Views:
    """Photos as the network is shown them: `count` fixed views of each, one that does not vary without `augment`.

    View v of photo i is a function of the seed, i and v.
    """

    dataset: Dataset
    preprocess: Preprocess
    augment: Augment | None = None
    seed: int = 0
    count: int = 1

    @cached_property
    def digest(self) -> str:
        """A SHA-256 of all that decides the pixels that the network sees; it takes reading all photos."""
        varied = None if self.augment is None else (asdict(self.augment), self.seed)
        known = [_contents(self.dataset), self.preprocess.to_dict(), varied, self.count]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def loader(
        self, batch_size: int, threads: int | None, on_unreadable: Callable[[Unreadable], None] | None
    ) -> Loader:
        """Return a loader whose epoch v reads view v of every photo, in the order of the data set."""
        from edge_sdk.data.loader import Loader

        return Loader(
            self.dataset,
            self.preprocess,
            batch_size=batch_size,
            seed=self.seed,
            augment=self.augment,
            threads=threads,
            prefetch=max(2, 32 // batch_size),
            cache_bytes=KEPT_PIXELS if self.count > 1 else 0,
            on_unreadable=on_unreadable,
        )


@dataclass
class Features:
    """The features of all views of some photos, computed as far as the store has them."""

    part: FrozenPart
    views: Views
    folder: Path
    unreadable: list[Unreadable] = field(default_factory=list)

    def __post_init__(self) -> None:
        from edge_sdk.data.feature_store import FeatureStore

        key = hashlib.sha256(f"{self.part.digest()} {self.views.digest}".encode()).hexdigest()
        self.store: FeatureStore = FeatureStore(self.folder, key, layout(self.part, self.views))

    @property
    def rows(self) -> int:
        """How many rows there are to compute: each view of each photo."""
        return self.views.count * len(self.views.dataset)

    @property
    def missing(self) -> int:
        """How many rows are still to be computed."""
        return sum(map(self._rows_of, self._missing_blocks))

    @property
    def _missing_blocks(self) -> list[int]:
        return [block for block in range(self.store.layout.blocks) if not self.store.done(block)]

    def readable(self) -> NDArray[np.bool_]:
        """Of each photo, whether it has features (photos,)."""
        return self.store.readable[: len(self.views.dataset)]

    def gather(self, indices: NDArray[np.int64], view: int = 0) -> dict[str, Array]:
        """Return the features of photos `indices` (k,), each (k, …), as the rest of the network takes them."""
        # A plain array: indexing a memory map gives one, and asks for its subclass each time.
        rows = np.asarray(self.store.rows)[indices + view * self._stride]
        feeds: dict[str, Array] = {}
        start = 0
        for value, spec in self.part.specs.items():
            end = start + bytes_of(spec)
            feeds[value] = np.ascontiguousarray(rows[:, start:end]).view(spec.numpy_dtype).reshape(-1, *spec.shape[1:])
            start = end
        return feeds

    def compute(
        self,
        session: Session | None,
        threads: int | None = None,
        on_rows: Callable[[int], None] = lambda _: None,
        on_unreadable: Callable[[Unreadable], None] | None = None,
        communicator: Communicator | None = None,
    ) -> None:
        """Fill the rows that are missing. Blocks that are finished are kept, whatever interrupts the work.

        `session` is `part`'s, bound to blocks, or None to have it made if need be. `on_rows` is told how many rows were
        added. Of several processes each computes its part, and has all rows in the end; those of the others are added
        then. Raises DataError when more than a tenth of the photos cannot be read.
        """
        communicator = communicator or Alone()
        loader = self.views.loader(self.store.layout.block, threads, on_unreadable)
        forgotten = self._ask_again(loader)
        mine = blocks_to_compute(self.store, forgotten, communicator)
        others = [block for block in self._missing_blocks if block not in set(mine)]
        try:
            for view, first, end in self._gaps(mine):
                session = session or self.part.session()
                self._fill(session, loader, view, first, end, on_rows)
            stop_together(communicator)
            exchange(self.store, communicator)
            for block in others:
                self._all_unreadable(block, loader)
                on_rows(self._rows_of(block))
            loader.check_unreadable(len(loader.unreadable))
        finally:
            self.unreadable = loader.unreadable
            self.store.sync()

    @property
    def _stride(self) -> int:
        """Rows from one view of a photo to the next."""
        return self.store.layout.rows // self.views.count

    @property
    def _blocks_of_view(self) -> int:
        return self._stride // self.store.layout.block

    def _rows_of(self, block: int) -> int:
        """How many photos a block has: the last of each view may be filled up with nothing."""
        first = block % self._blocks_of_view * self.store.layout.block
        return min(self.store.layout.block, len(self.views.dataset) - first)

    def _ask_again(self, loader: Loader) -> list[int]:
        """Name the photos that were unreadable when their block was computed; return blocks with one that no more is.

        Those are taken as not done.
        """
        done = [block for block in range(self.store.layout.blocks) if self.store.done(block)]
        forgotten = [block for block in done if not self._all_unreadable(block, loader)]
        for block in forgotten:
            self.store.forget(block)
        return forgotten

    def _all_unreadable(self, block: int, loader: Loader) -> bool:
        """Name the photos of a block that have no features, and tell whether none of them can be read now."""
        from edge_sdk.data.loader import Unreadable

        first, size = block % self._blocks_of_view * self.store.layout.block, self.store.layout.block
        readable = self.store.readable[block * size : block * size + self._rows_of(block)]
        for offset in np.flatnonzero(~readable):
            index = first + int(offset)
            try:
                self.views.dataset.photo(index)
            except DataError as error:
                if all(photo.index != index for photo in loader.unreadable):
                    photo = Unreadable(index, self.views.dataset.name(index), str(error))
                    loader.unreadable.append(photo)
                    if loader.on_unreadable is not None:
                        loader.on_unreadable(photo)
            else:
                return False
        return True

    def _gaps(self, missing: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Yield (view, first, end) of the longest runs of these blocks, counted within their view."""
        blocks = self._blocks_of_view
        for view in range(self.views.count):
            own = [block - view * blocks for block in missing if block // blocks == view]
            starts = [block for block in own if block - 1 not in own]
            ends = [block + 1 for block in own if block + 1 not in own]
            yield from ((view, first, end) for first, end in zip(starts, ends, strict=True))

    def _fill(
        self, session: Session, loader: Loader, view: int, first: int, end: int, on_rows: Callable[[int], None]
    ) -> None:
        size, base = self.store.layout.block, view * self._blocks_of_view
        batches = loader.epoch(view, first)
        expected = first  # a block of unreadable photos alone is not delivered
        runs: LaunchedRuns[dict[str, Array], tuple[int, Batch]] = LaunchedRuns(session.runs_ahead)

        def keep(block: int, batch: Batch | None, results: dict[str, Array]) -> None:
            self._put(block, batch, results)
            on_rows(self._rows_of(block))

        try:
            while expected < end and not stop_asked():
                batch = next(batches, None)
                delivered = end if batch is None else min(end, int(batch.index[0]) // size)
                for block in range(expected, delivered):
                    keep(base + block, None, {})
                if batch is None or delivered == end:
                    return
                expected = delivered + 1
                for results, of in runs.add(session.start({INPUT: batch.image}), (base + delivered, batch)):
                    keep(*of, results)
        finally:
            batches.close()
            for results, of in runs.finish():  # what was launched before an interruption is kept too
                keep(*of, results)

    def _put(self, block: int, batch: Batch | None, results: dict[str, Array]) -> None:
        size = self.store.layout.block
        rows = np.zeros((size, self.store.layout.row_bytes), np.uint8)
        readable = np.zeros(size, bool)
        if batch is not None:
            places = batch.index[: batch.count] % size
            readable[places] = True
            start = 0
            for value in self.part.graph.outputs:
                found = np.ascontiguousarray(results[value][: batch.count]).reshape(batch.count, -1).view(np.uint8)
                rows[places, start : start + found.shape[1]] = found
                start += found.shape[1]
        self.store.put(block, rows, readable)


def layout(part: FrozenPart, views: Views) -> Layout:
    """Return how the features lie: view after view, each a whole number of blocks."""
    from edge_sdk.data.feature_store import Layout

    blocks = -(-len(views.dataset) // part.block)
    return Layout(views.count * blocks * part.block, part.row_bytes, part.block)


def _contents(dataset: Dataset) -> str:
    """The data set's fingerprint, of the photos' bytes also where they are files: size and name are not enough here."""
    from edge_sdk.data.dataset import ArrayDataset
    from edge_sdk.data.folder import FolderDataset
    from edge_sdk.data.walk import content_hash

    if isinstance(dataset, FolderDataset):
        return dataset.fingerprint(contents=True)
    hashed = hashlib.sha256(dataset.fingerprint().encode())
    if isinstance(dataset, ArrayDataset):
        for photo in dataset.photos:
            if isinstance(photo, str | Path):
                hashed.update(content_hash(Path(photo)))
    return hashed.hexdigest()
