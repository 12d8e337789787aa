"""Files appear whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import pytest

from edge_sdk.atomic import atomic_write, atomic_write_bytes

KILLED = """
import os, signal, sys
from edge_sdk.atomic import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(b"half of what was to be")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_and_its_folders_are_written(tmp_path):
    """Missing folders are made, an older file is replaced, and nothing lies beside it."""
    path = tmp_path / "a" / "b" / "file"

    atomic_write_bytes(path, b"old")
    atomic_write_bytes(path, b"new")

    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_in_the_middle_leaves_the_old_file(tmp_path):
    """And removes the temporary one."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()

    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"old")]


def test_the_name_appears_only_at_the_end(tmp_path):
    """Whoever reads while the file is written sees the old one."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        seen = path.read_bytes()

    assert (seen, path.read_bytes()) == (b"old", b"new")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no kill -9")
def test_kill_9_leaves_the_old_file(tmp_path):
    """The process gets no chance to tidy up; the file is what it was."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)

    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_file_is_as_readable_as_any_other(tmp_path, monkeypatch):
    """A temporary file is its owner's alone; the finished one follows the process' mask."""
    (tmp_path / "plain").write_bytes(b"")
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the mask is the whole process's, other threads' too"))

    atomic_write_bytes(tmp_path / "atomic", b"")

    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")}
    assert len(modes) == 1
