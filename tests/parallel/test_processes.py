"""Several processes: what they exchange, how they start and end together."""

from __future__ import annotations

import numpy as np
import pytest
from parallel_checks import check
from parallel_runs import environment, exchanged, fails, numbers

import edge_sdk as edge
from edge_sdk.errors import EdgeError, UsageError


@pytest.mark.parametrize("size", [1, 2, 3])
def test_processes_of_one_machine_share_sums(size):
    """Sums over ranks in order, to the bit in every process, of arrays larger than the memory they share."""
    check(edge.run_processes(size, exchanged), size)


def test_a_process_alone_keeps_what_it_has():
    """Without others, sums and means are the array itself."""
    found = exchanged()

    check(found, 1)
    assert np.array_equal(found["total"], numbers(0))


def test_an_error_of_any_process_ends_all():
    """It is the caller's own error that comes out, not that the others were lost by it."""
    with pytest.raises(UsageError, match=r"^this one cannot$"):
        edge.run_processes(3, fails, 1, "error")


def test_a_process_that_dies_ends_all():
    """Nobody waits for one that was killed."""
    with pytest.raises(EdgeError, match="process 1 of 2 ended unexpectedly, exit code 3"):
        edge.run_processes(2, fails, 1, "death")


def test_a_defect_in_any_process_shows_where_it_is():
    """The traceback of a process whose output is not shown is not lost."""
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a defect"):
        edge.run_processes(2, fails, 1, "defect")


@pytest.mark.parametrize(("seen", "gpus"), [("5,7", ("5", "7")), ("5", ("5", "-1")), ("", ("-1", "-1"))])
def test_each_process_has_its_gpu_and_its_threads(seen, gpus, monkeypatch):
    """Of the GPUs that this process may see, by rank, and no other; of its threads, an equal share."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    monkeypatch.setenv("EDGE_NUM_THREADS", "2")

    assert edge.run_processes(2, environment) == [(gpu, "1") for gpu in gpus]


def test_a_number_of_processes_that_is_none():
    """It is said before anything starts."""
    with pytest.raises(UsageError, match="processes: wanted at least 1, found 0"):
        edge.run_processes(0, exchanged)
