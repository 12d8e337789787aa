"""The lock between processes: one holder at a time, none after its death."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_sdk.pretrained.file_lock import is_held, locked, try_lock, unlock


@pytest.fixture
def path(tmp_path) -> Path:
    """Where the lock is."""
    return tmp_path / "a.lock"


def test_threads_take_turns(path):
    """Nobody is inside with another one, whatever the order; nothing is left."""
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with locked(path):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert (inside, most) == (0, 1)
    assert not path.exists()


def test_it_is_freed_by_an_error(path):
    """The body may fail."""
    with pytest.raises(RuntimeError, match="body"), locked(path):
        raise RuntimeError("body")

    assert not path.exists()


def test_a_holder_is_seen_and_waited_for(path):
    """Others are told once that they wait."""
    told: list[int] = []
    descriptor = try_lock(path)
    assert descriptor is not None
    assert is_held(path)
    assert try_lock(path) is None
    threading.Timer(0.1, unlock, (path, descriptor)).start()

    with locked(path, on_wait=lambda: told.append(1)):
        assert told == [1]
    assert not is_held(path)


@pytest.mark.skipif(os.name != "posix", reason="Windows removes no file that is open")
def test_a_file_that_was_removed_meanwhile_is_no_lock(path):
    """Who waits for a file that its holder then removes takes a new one, beside which nobody else is."""
    first = try_lock(path)
    path.unlink()
    second = try_lock(path)

    assert first is not None
    assert second is not None
    os.close(first)
    assert try_lock(path) is None
    unlock(path, second)


def test_a_killed_process_holds_nothing(path):
    """Its file stays, but it is no lock any more."""
    program = (
        "import sys, pathlib\nfrom edge_sdk.pretrained.file_lock import try_lock\n"
        f"try_lock(pathlib.Path({str(path)!r}))\nprint('held', flush=True)\nsys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    assert is_held(path)

    process.kill()
    process.communicate(timeout=10)

    assert path.exists()
    assert not is_held(path)
    with locked(path):
        pass
