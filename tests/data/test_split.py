"""The split depends on names and seed alone, keeps the classes' shares, and never empties a class."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.data import ImageFolder, split_dataset, stratified_split
from edge_sdk.errors import DataError, UsageError

photos = st.dictionaries(st.text(max_size=6), st.integers(0, 4), max_size=60)
shares = st.floats(0, 0.99)


def _held_out(names, labels, **arguments):
    return {names[index] for index in stratified_split(names, labels, **arguments)[1]}


@given(photos, shares, st.integers(0, 5))
def test_every_photo_is_on_exactly_one_side(named, share, seed):
    """Nothing is lost or used twice, and both sides keep the order of the list."""
    training, validation = stratified_split(list(named), list(named.values()), share, seed)

    assert sorted(training + validation) == list(range(len(named)))
    assert list(training) == sorted(training)
    assert list(validation) == sorted(validation)


@given(photos, st.floats(0.01, 0.99))
def test_classes_keep_their_share(named, share):
    """Each class gives its rounded share, at least one, and keeps at least one."""
    names, labels = list(named), list(named.values())

    _, validation = stratified_split(names, labels, share)

    held_out = Counter(labels[index] for index in validation)
    for label, count in Counter(labels).items():
        assert abs(held_out[label] - count * share) <= 1
        assert 0 <= held_out[label] < count
        assert held_out[label] >= 1 or count == 1


@given(photos, shares, st.integers(0, 5), st.randoms(use_true_random=False))
def test_order_of_the_list_does_not_matter(named, share, seed, shuffler: random.Random):
    """File systems list in different orders; the held-out photos are the same."""
    items = list(named.items())
    shuffled = shuffler.sample(items, len(items))

    first = _held_out([name for name, _ in items], [label for _, label in items], validation=share, seed=seed)
    second = _held_out([name for name, _ in shuffled], [label for _, label in shuffled], validation=share, seed=seed)

    assert first == second


@given(st.integers(2, 60), st.text(max_size=6))
def test_one_more_photo_moves_at_most_one(count, added):
    """Old photos stay where they were, but for one that makes room or fills the share."""
    names = [f"photo {number}" for number in range(count)]

    before = _held_out(names, [0] * count)
    after = _held_out([*names, added], [0] * (count + 1))

    assert len((before ^ after) - {added}) <= 1


def test_known_split():
    """The split of a release is the split of the next: the smallest SHA-256 of "seed/name" are held out (coreutils)."""
    names = [f"a/{number}.jpg" for number in range(10)]

    assert stratified_split(names, [0] * 10, 0.2, seed=0)[1] == (0, 7)
    assert stratified_split(names, [0] * 10, 0.2, seed=1)[1] == (7, 8)


def test_share_of_nothing_holds_out_nothing():
    """validation=0 trains on everything."""
    assert stratified_split(["a", "b"], [0, 0], 0) == ((0, 1), ())


@given(photos, st.floats(0.05, 0.6), st.integers(0, 3))
def test_groups_stay_together(named, share, seed):
    """Photos of one group are on one side, and every class keeps a training photo."""
    names, labels = list(named), list(named.values())

    training, validation = stratified_split(names, labels, share, seed, group=lambda name: name[:1])

    assert not {names[index][:1] for index in training} & {names[index][:1] for index in validation}
    assert {labels[index] for index in training} == set(labels)


@pytest.mark.parametrize("seed", range(6))
def test_group_with_the_whole_of_a_class_is_not_held_out(seed):
    """A class whose photos all lie in one group stays in training, however well that group would fit."""
    names = [f"{number // 10} {number}" for number in range(100)]
    labels = [int(number in (3, 4)) for number in range(100)]

    training, validation = stratified_split(names, labels, 0.5, seed, group=lambda name: name[0])

    assert {labels[index] for index in training} == {0, 1}
    assert 30 <= len(validation) <= 60


def test_groups_come_close_to_the_share():
    """Blocks of 40 of 2,000 photos in two classes: the held-out share of each class is near a fifth."""
    names = [f"{number:04}" for number in range(2000)]
    labels = [int(number % 3 == 0) for number in range(2000)]

    _, validation = stratified_split(names, labels, 0.2, group=lambda name: str(int(name) // 40))

    assert len({names[index] for index in validation}) == len(validation)
    for label in (0, 1):
        share = sum(labels[index] == label for index in validation) / labels.count(label)
        assert 0.17 <= share <= 0.23


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan")])
def test_impossible_share_is_refused(share):
    """A share is from 0 to below 1."""
    with pytest.raises(UsageError, match="validation: wanted a share"):
        stratified_split(["a"], [0], share)


def test_repeated_name_is_refused():
    """Two photos of one name could not be told apart by their hash."""
    with pytest.raises(DataError, match="'a' is there twice"):
        stratified_split(["a", "b", "a"], [0, 0, 1])


def test_folder_split_does_not_depend_on_its_place(make_folder):
    """A copy of the folder elsewhere is split alike."""
    root = make_folder({"a": 10, "b": 10})
    first = ImageFolder.scan(root).split(seed=3)
    second = ImageFolder.scan(root.rename(root.with_name("moved"))).split(seed=3)

    assert [part.samples for part in first] == [part.samples for part in second]
    assert [len(part) for part in first] == [16, 4]
    assert split_dataset(ImageFolder.scan(root.with_name("moved")).train, seed=3) == second
