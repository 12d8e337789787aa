"""Ctrl-C waits for the step that is being taken."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from edge_sdk.training.interrupts import held_back


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, as it does in a program that was started in a terminal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_block_is_finished_first() -> None:
    """What comes behind the signal in the block still happens; then the interrupt is raised."""
    done = []

    def interrupted() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("step")
        done.append("more")

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert done == ["step"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_presses_twice_does_not_wait() -> None:
    """A step that hangs can still be left."""
    done = []

    def interrupted() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("step")

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert done == []


def test_a_handler_of_the_program_stays() -> None:
    """Who handles SIGINT in another way is told at once, and so is every other thread's owner."""
    told = []
    signal.signal(signal.SIGINT, lambda number, frame: told.append(number))

    with held_back():
        signal.raise_signal(signal.SIGINT)
        seen = list(told)

    assert seen == [signal.SIGINT]


def test_other_threads_may_train() -> None:
    """Only the main thread can set handlers; elsewhere the block simply runs."""
    done = []

    def step() -> None:
        with held_back():
            done.append("step")

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()

    assert done == ["step"]
