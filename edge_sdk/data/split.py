"""Deterministic split into training and validation photos."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

from edge_sdk.data.dataset import Dataset
from edge_sdk.errors import DataError, UsageError

AnyDataset = TypeVar("AnyDataset", bound=Dataset)


def stratified_split(
    names: Sequence[str],
    labels: Sequence[int],
    validation: float = 0.2,
    seed: int = 0,
    group: Callable[[str], str] | None = None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (training, validation) indices, ascending, with the share `validation` of every class in the second.

    The choice depends on nothing but names, labels and seed: within a class the photos with the smallest SHA-256 of
    (seed, name) are held out, so neither the order of the list nor the machine matters, and adding a photo moves at
    most a few others. A class of one photo stays in training; of two or more, at least one is on each side (unless
    `validation` is 0).

    With `group`, photos for which group(name) is equal stay together: photos of one object or one minute must not
    stand on both sides. Whole groups are then held out, in the order of their hash, as long as that brings the
    held-out share of the classes closer to the wanted one and leaves every class a training photo. A share outside
    [0, 1), or names that repeat, raise an error.
    """
    if not 0 <= validation < 1:
        raise UsageError(f"validation: wanted a share from 0 to below 1, found {validation}")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"split: names must differ from each other; {repeated[0]!r} is there twice")
    classes: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        classes[label].append(index)
    targets = {label: _held_out_count(len(members), validation) for label, members in classes.items()}
    if group is None:
        held_out = {
            index
            for label, members in classes.items()
            for index in sorted(members, key=lambda index: _rank(names[index], seed))[: targets[label]]
        }
    else:
        held_out = _hold_out_groups([group(name) for name in names], labels, targets, seed)
    everything = range(len(names))
    return tuple(i for i in everything if i not in held_out), tuple(i for i in everything if i in held_out)


def split_dataset(
    dataset: AnyDataset, validation: float = 0.2, seed: int = 0, group: Callable[[str], str] | None = None
) -> tuple[AnyDataset, AnyDataset]:
    """Return (training, validation) parts of a dataset; see `stratified_split`."""
    indices = range(len(dataset))
    names, labels = [dataset.name(index) for index in indices], [dataset.label(index) for index in indices]
    training, held_out = stratified_split(names, labels, validation, seed, group)
    return dataset.select(training), dataset.select(held_out)


def _held_out_count(members: int, validation: float) -> int:
    if members < 2 or validation == 0:
        return 0
    return min(max(1, round(members * validation)), members - 1)


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def _hold_out_groups(groups: Sequence[str], labels: Sequence[int], targets: dict[int, int], seed: int) -> set[int]:
    members: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(groups):
        members[name].append(index)
    missing = dict(targets)
    training = Counter(labels)
    held_out: set[int] = set()
    for name in sorted(members, key=lambda name: _rank(name, seed)):
        counts = Counter(labels[index] for index in members[name])
        gain = sum(abs(missing[label]) - abs(missing[label] - count) for label, count in counts.items())
        if gain > 0 and all(training[label] > count for label, count in counts.items()):
            held_out.update(members[name])
            training.subtract(counts)
            for label, count in counts.items():
                missing[label] -= count
    return held_out
