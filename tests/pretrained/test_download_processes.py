"""Downloads that are killed or interrupted, and several at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from weight_server import CONTENT, HALF, NAME, SHA256, Server

from edge_sdk.pretrained.digest import Digest
from edge_sdk.pretrained.download import PublishedFile, fetch

PART = f"{NAME}.part"

pytestmark = pytest.mark.usefixtures("cache")


def published(url: str) -> PublishedFile:
    """The file as the manifest describes it."""
    return PublishedFile(NAME, (url,), Digest("sha256", SHA256), (len(CONTENT), len(CONTENT)))


def fetching(server: Server, cache: Path) -> subprocess.Popen[str]:
    """A process that fetches the file and prints its SHA-256."""
    program = f"from edge_sdk.pretrained.download import *; print(fetch({published(server.url)!r}).sha256)"
    environment = os.environ | {"EDGE_CACHE": str(cache)}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no kill -9")
def test_a_killed_download_is_gone_on_with(server, cache):
    """A kill -9 leaves half of the file and a lock that nobody holds; the next process fetches the other half."""
    server.behaviours = ["stalling", "right"]
    process = fetching(server, cache)
    assert server.halfway.wait(60)
    part = cache / PART
    while not part.exists() or part.stat().st_size < HALF:
        time.sleep(0.01)

    process.kill()
    process.communicate(timeout=10)

    assert sorted(path.name for path in cache.iterdir()) == [f"{NAME}.lock", PART, f"{PART}.json"]
    assert fetch(published(server.url)).path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-"]
    assert [path.name for path in cache.iterdir()] == [NAME]


def test_several_processes_download_once(server, cache):
    """The first fetches the file while the others, processes and threads, wait for it: one request in all."""
    server.behaviours = ["slow"]
    processes = [fetching(server, cache) for _ in range(3)]
    assert server.halfway.wait(60)
    waiting = threading.Event()
    found: list[str] = []
    wanted = published(server.url)
    thread = threading.Thread(target=lambda: found.append(fetch(wanted, on_wait=waiting.set).sha256))
    thread.start()
    assert waiting.wait(10)

    server.go_on.set()

    assert [process.communicate(timeout=60)[0].strip() for process in processes] == [SHA256] * 3
    thread.join(10)
    assert found == [SHA256]
    assert len(server.requests) == 1
    assert [path.name for path in cache.iterdir()] == [NAME]


def test_an_interrupted_download_is_gone_on_with(server, cache):
    """Ctrl-C frees the lock and keeps what has arrived, which may be all."""

    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(published(server.url), interrupt)

    assert sorted(path.name for path in cache.iterdir()) == [PART, f"{PART}.json"]
    arrived = (cache / PART).stat().st_size
    fetch(published(server.url))
    assert [path.name for path in cache.iterdir()] == [NAME]
    assert server.ranges == [None] + [f"bytes={arrived}-"] * (arrived < len(CONTENT))
