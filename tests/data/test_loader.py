"""Batches: their bytes, their order, photos that cannot be read, and threads that end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import numpy as np
import pytest

from edge_sdk.data import ArrayDataset, Augment, Batch, ImageFolder, Loader
from edge_sdk.errors import DataError, UsageError
from edge_sdk.preprocess import Preprocess

RULE = Preprocess(size=(8, 8), resize=9, mean=(127.0,) * 3, std=(128.0,) * 3)


def _dataset(count: int, unreadable: Iterable[int] = ()) -> ArrayDataset:
    """Photos of one colour each, the number of the photo; the unreadable ones are junk."""
    photos = [np.full((9, 9, 3), index, np.uint8) for index in range(count)]
    junk = set(unreadable)
    chosen = [b"junk" if index in junk else photo for index, photo in enumerate(photos)]
    return ArrayDataset.of(chosen, [index % 3 for index in range(count)], ["a", "b", "c"])


def _bytes(batches: Iterable[Batch]) -> list[tuple[bytes, bytes, bytes, int]]:
    return [(batch.image.tobytes(), batch.label.tobytes(), batch.index.tobytes(), batch.count) for batch in batches]


def _loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("edge-loader")]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert _loader_threads() == []


def test_evaluation_reads_every_photo_once_in_order():
    """Rows are the preprocessed photos; the last batch is padded and says so."""
    dataset = _dataset(10)

    batches = list(Loader(dataset, RULE, 4))

    assert [batch.count for batch in batches] == [4, 4, 2]
    assert [batch.index.tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, -1, -1]]
    assert batches[2].label.tolist() == [2, 0, -1, -1]
    assert [batch.image.dtype for batch in batches] == [np.float32] * 3
    assert batches[0].label.dtype == np.int32
    for batch in batches:
        for row in range(batch.count):
            np.testing.assert_array_equal(batch.image[row], RULE(dataset.photo(int(batch.index[row]))))
        assert not batch.image[batch.count :].any()


@pytest.mark.parametrize("parts", [1, 2, 3, 12])
def test_parts_of_an_evaluation_are_all_photos_in_order(parts):
    """Of ten photos; with more parts than photos some have none, and yield nothing."""
    loaders = [Loader(_dataset(10), RULE, 2, part=(number, parts)) for number in range(parts)]

    read = [[int(index) for batch in loader for index in batch.index[: batch.count]] for loader in loaders]

    assert [index for part in read for index in part] == list(range(10))
    assert [loader.batches for loader in loaders] == [-(-len(part) // 2) for part in read]
    assert {len(part) for part in read} <= {10 // parts, -(-10 // parts)}


def test_training_batches_are_always_full():
    """The incomplete batch is dropped; a dataset smaller than a batch is repeated."""
    loader = Loader(_dataset(10), RULE, 4, shuffle=True, drop_last=True)
    small = Loader(_dataset(3), RULE, 7, drop_last=True)

    read = [index for batch in loader.epoch(0) for index in batch.index.tolist()]
    (only,) = small.epoch(0)

    assert (loader.batches, small.batches) == (2, 1)
    assert len(read) == len(set(read)) == 8
    assert only.index.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert only.count == 7


def test_shuffle_is_a_new_permutation_each_epoch():
    """Every epoch reads all photos, in an order of its own that the seed decides."""
    loader = Loader(_dataset(50), RULE, 10, shuffle=True, seed=4)
    orders = [[index for batch in loader.epoch(epoch) for index in batch.index.tolist()] for epoch in range(3)]

    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert orders[1] == Loader(_dataset(50), RULE, 5, shuffle=True, seed=4).order(1).tolist()
    assert orders[1] != Loader(_dataset(50), RULE, 5, shuffle=True, seed=5).order(1).tolist()


@pytest.mark.parametrize("policy", ["off", "flip", "crop"])
@pytest.mark.parametrize("unreadable", [False, True])
def test_bytes_do_not_depend_on_threads_or_cache(policy, unreadable, make_folder):
    """One thread, four, none at all, another queue, a cache: the same bytes from real files, twice."""
    root = make_folder({"a": 12, "b": 9})
    if unreadable:
        (root / "a" / "004.png").write_bytes((root / "a" / "004.png").read_bytes()[:200])
        (root / "b" / "007.png").write_bytes(b"")
    dataset = ImageFolder.scan(root).train

    def epochs(**arguments) -> list[tuple[bytes, bytes, bytes, int]]:
        loader = Loader(
            dataset, RULE, 4, shuffle=True, seed=1, augment=Augment.named(policy), drop_last=True, **arguments
        )
        return _bytes(loader.epoch(0)) + _bytes(loader.epoch(1))

    expected = epochs(threads=0)

    assert len(expected) == 10
    assert epochs(threads=1) == expected
    assert epochs(threads=4, prefetch=1) == expected
    assert epochs(threads=4, prefetch=9) == expected
    assert epochs(threads=4, cache_bytes=8 * 8 * 3 * 5) == expected
    assert epochs(threads=2, cache_bytes=1 << 20) == expected


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("start", [0, 1, 4, 5])
def test_start_in_the_middle_continues_exactly(drop_last, start):
    """The rest of an epoch is the same with and without the batches before, unreadable photos or not."""
    arguments = {"shuffle": True, "seed": 3, "augment": Augment.named("crop"), "drop_last": drop_last}
    dataset = _dataset(20, unreadable=[5, 11])
    whole = _bytes(Loader(dataset, RULE, 4, **arguments).epoch(2))

    rest = _bytes(Loader(dataset, RULE, 4, **arguments).epoch(2, start_batch=start))

    assert rest == whole[start:]
    assert len(whole) == 5


def test_augmented_views_differ_between_epochs():
    """A photo is not seen twice in the same way."""
    dataset = ArrayDataset.of(np.random.default_rng(0).integers(0, 256, (2, 30, 30, 3)).astype(np.uint8), [0, 0], ["a"])
    loader = Loader(dataset, RULE, 2, augment=Augment.named("crop"), drop_last=True)

    assert _bytes(loader.epoch(0)) != _bytes(loader.epoch(1))


def test_unreadable_photo_is_replaced_in_training():
    """The next readable photo of the order takes its place, and every other row stays."""
    seen = []
    loader = Loader(_dataset(20, unreadable=[3, 4]), RULE, 5, drop_last=True, on_unreadable=seen.append)

    rows = [index for batch in loader.epoch(0) for index in batch.index.tolist()]
    list(loader.epoch(1))

    assert rows == [0, 1, 2, 5, 5, *range(5, 20)]
    assert [photo.index for photo in loader.unreadable] == [3, 4]
    assert loader.unreadable[0].name == "3"
    assert "no image of a known format" in loader.unreadable[0].reason
    assert seen == loader.unreadable


def test_last_photo_of_the_order_is_replaced_by_the_first():
    """The order goes round."""
    (batch,) = Loader(_dataset(10, unreadable=[9]), RULE, 10, drop_last=True).epoch(0)

    assert batch.index.tolist() == [*range(9), 0]


def test_unreadable_photo_is_left_out_of_an_evaluation():
    """No photo counts twice: the batch is shorter, and one without any photo is not there."""
    loader = Loader(_dataset(30, unreadable=[4, 12, 13]), RULE, 2)

    batches = list(loader)

    assert [batch.count for batch in batches] == [2, 2, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    assert [index for batch in batches for index in batch.index.tolist() if index >= 0] == [
        index for index in range(30) if index not in (4, 12, 13)
    ]
    assert batches[2].index.tolist() == [5, -1]
    np.testing.assert_array_equal(batches[2].image[0], RULE(np.full((9, 9, 3), 5, np.uint8)))


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("unreadable", [[7, 9, 15], range(20)])
def test_more_than_a_tenth_unreadable_stops(drop_last, threads, unreadable):
    """Two of twenty are skipped, a third one stops with a count and the first reason."""
    loader = Loader(_dataset(20, unreadable=unreadable), RULE, 5, drop_last=drop_last, threads=threads)

    with pytest.raises(DataError, match=r"^\d+ of 20 photos cannot be read, more than 10%; the first: photo \d+: "):
        list(loader.epoch(0))

    assert len(loader.unreadable) >= 3


def test_file_that_vanishes_is_unreadable(make_folder):
    """A photo deleted after the scan is skipped like a corrupt one."""
    root = make_folder({"a": 10, "b": 10})
    dataset = ImageFolder.scan(root).train
    (root / "a" / "002.png").unlink()
    loader = Loader(dataset, RULE, 8)

    assert sum(batch.count for batch in loader) == 19
    assert loader.unreadable[0].name == "a/002.png"
    assert "no such file" in loader.unreadable[0].reason


def test_early_close_stops_the_threads():
    """Leaving the loop ends the threads at once, long before the epoch is read."""
    opened = []

    class Counting(ArrayDataset):
        def photo(self, index, shortest=None):
            opened.append(index)
            return super().photo(index, shortest)

    plain = _dataset(200)
    dataset = Counting(plain.labels, plain.photos, plain.indices, plain.names)
    epoch = Loader(dataset, RULE, 4, threads=3, prefetch=2).epoch(0)
    next(epoch)
    assert _loader_threads()
    time.sleep(0.2)  # an unbounded queue would use it to read on

    epoch.close()

    assert _loader_threads() == []
    assert 4 <= len(opened) <= 4 + 2 * 4


def test_interrupt_in_the_loop_stops_the_threads():
    """Ctrl-C while a batch is in use: the epoch is given up and nothing keeps running."""

    def train() -> None:
        for batch in Loader(_dataset(100), RULE, 4, threads=3).epoch(0):
            if batch.index[0] == 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()

    assert _loader_threads() == []


def test_interrupt_while_waiting_stops_the_threads(monkeypatch):
    """Ctrl-C while the loop waits for a photo."""

    def interrupt(*arguments: object, **options: object) -> None:
        release.set()
        raise KeyboardInterrupt

    class Slow(ArrayDataset):
        def photo(self, index, shortest=None):
            release.wait(timeout=60)
            return super().photo(index, shortest)

    release = threading.Event()
    monkeypatch.setattr("edge_sdk.data.loader.concurrent.futures.wait", interrupt)
    plain = _dataset(20)
    epoch = Loader(Slow(plain.labels, plain.photos, plain.indices, plain.names), RULE, 4, threads=2).epoch(0)

    with pytest.raises(KeyboardInterrupt):
        next(epoch)

    assert _loader_threads() == []


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_other_errors_come_through(threads):
    """A defect in a dataset of the user's own is not taken for an unreadable photo."""

    class Broken(ArrayDataset):
        def photo(self, index, shortest=None):
            if index == 9:
                raise TimeoutError("the camera does not answer")
            return super().photo(index, shortest)

    plain = _dataset(30)
    loader = Loader(Broken(plain.labels, plain.photos, plain.indices, plain.names), RULE, 4, threads=threads)
    read = []

    with pytest.raises(TimeoutError, match="the camera"):
        read.extend(batch.index.tolist() for batch in loader)

    assert read == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert loader.unreadable == []


def test_cache_is_bounded_and_used():
    """What fits is decoded once; the rest is decoded each epoch."""
    opened = []

    class Counting(ArrayDataset):
        def photo(self, index, shortest=None):
            opened.append(index)
            return super().photo(index, shortest)

    plain = _dataset(10)
    dataset = Counting(plain.labels, plain.photos, plain.indices, plain.names)
    loader = Loader(dataset, RULE, 5, cache_bytes=6 * 8 * 8 * 3, threads=0)

    first, second = _bytes(loader.epoch(0)), _bytes(loader.epoch(1))

    assert first == second
    assert opened == [*range(10), 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"batch_size": 2.0}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"threads": -1}, "threads"),
        ({"prefetch": 0}, "prefetch"),
        ({"cache_bytes": -1}, "cache_bytes"),
        ({"part": (2, 2)}, r"part \(2, 2\) makes no sense; wanted \(k, n\)"),
        ({"part": (-1, 2), "drop_last": True}, "part"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    """Before the first photo is read."""
    with pytest.raises(UsageError, match=message):
        Loader(_dataset(3), RULE, **{"batch_size": 2, **arguments})


def test_epochs_and_datasets_that_do_not_exist_are_refused():
    """A batch beyond the end, a negative epoch, no photo at all."""
    loader = Loader(_dataset(10), RULE, 4)

    with pytest.raises(UsageError, match="epoch 0, batch 4 does not exist"):
        loader.epoch(0, start_batch=4)
    with pytest.raises(UsageError, match="epoch -1"):
        loader.epoch(-1)
    assert list(loader.epoch(0, start_batch=3)) == []
    with pytest.raises(DataError, match="no photo"):
        Loader(_dataset(0), RULE, 4)
