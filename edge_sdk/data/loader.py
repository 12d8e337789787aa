"""Batches for training and evaluation: decoded by background threads, on which their bytes do not depend."""

from __future__ import annotations

import collections
import concurrent.futures
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_sdk.data.augment import Augment, random_generator
from edge_sdk.data.dataset import Dataset
from edge_sdk.data.decoded import Decoded
from edge_sdk.data.images import as_rgb
from edge_sdk.errors import DataError, UsageError
from edge_sdk.parallel.communicator import share_of
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import Array

LARGEST_UNREADABLE_SHARE = 0.1
"""Of the photos of a dataset; when more cannot be read, the folder is at fault and not a photo."""

# Streams of random numbers that must not repeat each other: SeedSequence((seed, epoch, stream, …)).
_ORDER, _VIEW = 0, 1


@dataclass(frozen=True, eq=False)
class Batch:
    """`image` (n, h, w, c), `label` int32 (n,) and `index` int64 (n,) into the dataset.

    The photos are float32, or uint8 where the loader gives `pixels`.

    The first `count` rows are photos; the others, at the end of an evaluation, are zeros with label and index -1.
    """

    image: Array
    label: NDArray[np.int32]
    index: NDArray[np.int64]
    count: int


@dataclass(frozen=True)
class Unreadable:
    """A photo that was skipped: its index and name in the dataset, and why."""

    index: int
    name: str
    reason: str


@dataclass(frozen=True)
class _Row:
    """One position of the epoch: the photo that fills it (None if there is none), and the failures on the way there."""

    pixels: NDArray[np.uint8] | None
    index: int
    failures: tuple[tuple[int, str], ...]


@dataclass
class Loader:
    """Reads a dataset in batches of exactly `batch_size` rows.

    Two modes, told apart by `drop_last`:

    - Training (`drop_last=True`): the incomplete batch at the end is dropped; a dataset smaller than one batch is
      repeated until it fills one. The place of an unreadable photo is taken by the next readable one in the epoch's
      order, which is then seen twice; so every other row, and a resumed epoch, stays what it would have been.
    - Evaluation (`drop_last=False`): every readable photo exactly once; the last batch, and one with an unreadable
      photo, is padded, and `Batch.count` says how many rows count.

    The same dataset, arguments and `seed` give the same bytes whatever the number of `threads` (0 decodes in the
    caller's thread; None takes up to four). `prefetch` batches are decoded ahead. `cache_bytes` bounds the memory in
    which the crops of photos are kept from epoch to epoch (they can be kept unless `augment` crops at random); a data
    set that is `Decoded` has its own. With
    `pixels` photos are uint8 in the order of `preprocess.channels`, not normalised: the graph does that
    (`edge_sdk.passes.pixel_input`). Of n loaders that share an epoch, the one whose `part` is (k, n) reads the k-th of
    n equal parts of every training batch, or, in an evaluation, of all photos: `batch_size` are its own rows. Photos
    that cannot be read are recorded in `unreadable`, and handed to `on_unreadable` once each; when they are more than a
    tenth of the dataset, DataError is raised.
    """

    dataset: Dataset
    preprocess: Preprocess
    batch_size: int
    shuffle: bool = False
    seed: int = 0
    augment: Augment | None = None
    drop_last: bool = False
    threads: int | None = None
    prefetch: int = 2
    cache_bytes: int = 0
    pixels: bool = False
    part: tuple[int, int] = (0, 1)
    on_unreadable: Callable[[Unreadable], None] | None = None
    unreadable: list[Unreadable] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if not len(self.dataset):
            raise DataError("loader: the dataset has no photo")
        for name, least in (("batch_size", 1), ("seed", 0), ("prefetch", 1), ("cache_bytes", 0), ("threads", 0)):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= least) and not (name == "threads" and value is None):
                raise UsageError(f"loader: {name} must be a whole number of at least {least}; found {value!r}")
        if not 0 <= self.part[0] < self.part[1]:
            raise UsageError(f"loader: part {self.part} makes no sense; wanted (k, n) with 0 <= k < n")
        self._decoded = Decoded.of(self.dataset, self.cache_bytes)

    @property
    def batches(self) -> int:
        """The number of batches of an epoch; an evaluation yields fewer if all photos of a batch are unreadable."""
        if self.drop_last:
            return max(1, len(self.dataset) // (self.batch_size * self.part[1]))
        return -(-len(self._evaluated) // self.batch_size)

    @property
    def _evaluated(self) -> range:
        """The positions of the photos that an evaluation reads."""
        return range(len(self.dataset))[share_of(len(self.dataset), *self.part)]

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the dataset's indices (n,) in the order in which the epoch reads them."""
        if not self.shuffle:
            return np.arange(len(self.dataset))
        # Sorting plain draws, since NumPy promises a bit generator's stream but not the algorithm of `permutation`.
        return np.argsort(random_generator(self.seed, epoch, _ORDER).random(len(self.dataset)), kind="stable")

    def epoch(self, epoch: int = 0, start_batch: int = 0) -> Generator[Batch, None, None]:
        """Yield the batches of an epoch from `start_batch` on, the same as without those before.

        Closing the generator, or an exception in the loop around it, stops the threads.
        """
        if epoch < 0 or not 0 <= start_batch <= self.batches:
            raise UsageError(
                f"loader: epoch {epoch}, batch {start_batch} does not exist; epochs count from 0, and each has "
                f"{self.batches} batches"
            )
        return self._epoch(epoch, start_batch)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of epoch 0."""
        return self.epoch()

    def _epoch(self, epoch: int, start_batch: int) -> Generator[Batch, None, None]:
        order = self.order(epoch)
        if self.drop_last:
            number, parts = self.part
            step = self.batch_size * parts
            end = self.batches * step
            starts = range(start_batch * step + number * self.batch_size, end, step)
        else:
            end = self._evaluated.stop
            starts = range(self._evaluated.start + start_batch * self.batch_size, end, self.batch_size)
        counts = [min(self.batch_size, end - start) for start in starts]
        positions = [at for start, count in zip(starts, counts, strict=True) for at in range(start, start + count)]
        rows = self._rows(order, epoch, positions)
        try:
            for count in counts:
                batch = self._assemble(rows, count)
                if batch.count:
                    yield batch
        finally:
            rows.close()

    def _rows(self, order: NDArray[np.int64], epoch: int, positions: Sequence[int]) -> Generator[_Row, None, None]:
        """Yield the row of each position, in order, at most `prefetch` batches ahead of the caller."""
        stop = threading.Event()
        threads = _default_threads() if self.threads is None else self.threads
        if threads == 0:
            for position in positions:
                yield self._read(order, epoch, position, stop)
            return
        executor = ThreadPoolExecutor(threads, thread_name_prefix="edge-loader")
        pending: collections.deque[Future[_Row]] = collections.deque()
        try:
            for position in positions:
                pending.append(executor.submit(self._read, order, epoch, position, stop))
                if len(pending) > self.prefetch * self.batch_size:
                    yield _result(pending.popleft())
            while pending:
                yield _result(pending.popleft())
        finally:
            stop.set()
            executor.shutdown(wait=True, cancel_futures=True)

    def _read(self, order: NDArray[np.int64], epoch: int, position: int, stop: threading.Event) -> _Row:
        """Read the photo of a position or, in training, the next readable one. Runs in a background thread."""
        failures: list[tuple[int, str]] = []
        tries = min(len(order), self._most_unreadable + 1) if self.drop_last else 1
        for step in range(tries):
            if stop.is_set():
                break
            index = int(order[(position + step) % len(order)])
            try:
                return _Row(self._view(index, epoch, position), index, tuple(failures))
            except DataError as error:
                failures.append((index, str(error)))
        return _Row(None, -1, tuple(failures))

    def _view(self, index: int, epoch: int, position: int) -> NDArray[np.uint8]:
        augment = self.augment
        if augment is not None and augment.area is not None:
            # Twice the pixels that the input needs, so that crops of a quarter of the area stay sharp.
            shortest = 2 * (self.preprocess.resize or max(self.preprocess.stretch or self.preprocess.size))
            image = as_rgb(self.dataset.photo(index, shortest=shortest))
            return augment(image, self.preprocess, random_generator(self.seed, epoch, _VIEW, position))
        pixels = self._decoded.crop(index, self.preprocess)
        if augment is None:
            return pixels
        return augment.vary(pixels, random_generator(self.seed, epoch, _VIEW, position))

    def _assemble(self, rows: Generator[_Row, None, None], wanted: int) -> Batch:
        image = np.zeros((self.batch_size, *self.preprocess.shape), np.uint8 if self.pixels else np.float32)
        label = np.full(self.batch_size, -1, np.int32)
        chosen = np.full(self.batch_size, -1, np.int64)
        count = 0
        for _ in range(wanted):
            row = next(rows)
            self._record(row.failures)
            if row.pixels is None:
                continue
            if self.pixels:
                image[count] = row.pixels[..., ::-1] if self.preprocess.channels == "bgr" else row.pixels
            else:
                self.preprocess.normalise(row.pixels, out=image[count])
            label[count], chosen[count] = self.dataset.label(row.index), row.index
            count += 1
        return Batch(image, label, chosen, count)

    @property
    def _most_unreadable(self) -> int:
        return int(len(self.dataset) * LARGEST_UNREADABLE_SHARE)

    def _record(self, failures: tuple[tuple[int, str], ...]) -> None:
        if not failures:
            return
        known = {photo.index for photo in self.unreadable}
        for index, reason in failures:
            if index in known:
                continue
            known.add(index)
            photo = Unreadable(index, self.dataset.name(index), reason)
            self.unreadable.append(photo)
            if self.on_unreadable is not None:
                self.on_unreadable(photo)
        self.check_unreadable(len(self.unreadable))

    def check_unreadable(self, count: int) -> None:
        """Raise DataError if so many photos, of all parts, are more than may be left out."""
        if count > self._most_unreadable:
            first = f"; the first: {self.unreadable[0].reason}" if self.unreadable else ""
            raise DataError(
                f"{count} of {len(self.dataset)} photos cannot be read, more than {LARGEST_UNREADABLE_SHARE:.0%}{first}"
            )


def _result(future: Future[_Row]) -> _Row:
    # Waiting without a limit cannot be interrupted by Ctrl-C on Windows.
    while not future.done():
        concurrent.futures.wait((future,), timeout=0.2)
    return future.result()


def _default_threads() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, available)
