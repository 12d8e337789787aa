"""Several processes validate on their part of the photos each; the figures are those of one."""

from __future__ import annotations

import pytest
from parallel_runs import numbered, validated

import edge_sdk as edge
from edge_sdk.errors import DataError
from edge_sdk.evaluation import accuracy_over_processes
from edge_sdk.parallel.communicator import Alone, share_of

SIZES = (1, 2, 3, 8, 13, 26)
"""Fewer photos than processes, whole batches of four, last batches of one and two."""


@pytest.mark.parametrize(("processes", "runs"), [(2, [4, 4]), (3, [2, 3, 3])])
def test_all_are_told_what_one_process_finds(processes, runs):
    """By counting: the labels say of every third photo that the model is wrong about it. Each runs its part alone."""
    told, found_runs = edge.run_processes(processes, validated, SIZES, [])

    assert found_runs == runs  # batches of four of the last 26
    assert told == [[numbered(size)[2] / size for size in SIZES]] * processes
    for size, accuracy in zip(SIZES, told[0], strict=True):
        model, data, _ = numbered(size)
        assert accuracy == edge.evaluate(model, data, 4).top1 == accuracy_over_processes(model, data, 4, Alone())


def test_photos_that_cannot_be_read_are_left_out_of_all_counts():
    """One in each part, few enough of all."""
    junk = [1, 20]

    told, _ = edge.run_processes(2, validated, [30], junk)

    _, data, known = numbered(30, junk)
    assert told == [[known / 28]] * 2
    assert edge.evaluate(numbered(30)[0], data, 4).top1 == known / 28


def test_too_many_of_all_parts_are_too_many():
    """Three of twenty, of which each of three processes sees one; alone it would be refused with the same words."""
    junk = [0, 8, 15]
    wanted = "3 of 20 photos cannot be read, more than 10%; the first: "

    with pytest.raises(DataError, match=wanted):
        edge.run_processes(3, validated, [20], junk)
    with pytest.raises(DataError, match=wanted):
        edge.evaluate(*numbered(20, junk)[:2])


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("length", [0, 1, 5, 14])
def test_shares_are_a_partition(length, size):
    """Everything once, in order; no part is more than one larger than another."""
    parts = [range(length)[share_of(length, rank, size)] for rank in range(size)]

    assert [index for part in parts for index in part] == list(range(length))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
