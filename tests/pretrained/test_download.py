"""Weight files from a server on this machine: whatever it does, nothing but the published file is ever used."""

from __future__ import annotations

import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_sdk import pretrained
from edge_sdk.errors import FormatError, UsageError
from edge_sdk.pretrained import download
from edge_sdk.pretrained.download import PublishedFile, fetch

CONTENT = bytes(range(256)) * 2000
NAME = "network-0a1b2c3d.pth"


class Server(http.server.ThreadingHTTPServer):
    """Answers every request in the way called `behaviour`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = "right"
        self.requests: list[str] = []
        self.halfway = threading.Event()

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"http://127.0.0.1:{self.server_port}/{NAME}"


class Handler(http.server.BaseHTTPRequestHandler):
    """One way to answer, or to fail to, per behaviour."""

    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Answer."""
        self.server.requests.append(self.path)
        getattr(self, f"answer_{self.server.behaviour}")()

    def send_head(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.close_connection = True
        self.end_headers()

    def answer_right(self) -> None:
        self.send_head(Content_Length=str(len(CONTENT)))
        self.wfile.write(CONTENT)

    def answer_altered(self) -> None:
        self.send_head(Content_Length=str(len(CONTENT)))
        self.wfile.write(CONTENT[:-1] + b"!")

    def answer_short(self) -> None:
        """An honest, shorter file."""
        self.send_head(Content_Length="1000")
        self.wfile.write(CONTENT[:1000])

    def answer_long(self) -> None:
        self.send_head(Content_Length=str(len(CONTENT) + 1))
        self.wfile.write(CONTENT + b"!")

    def answer_broken_off(self) -> None:
        """The connection ends before the promised length."""
        self.send_head(Content_Length=str(len(CONTENT)))
        self.wfile.write(CONTENT[:1000])

    def answer_broken_off_chunk(self) -> None:
        """The connection ends within a chunk of unknown length."""
        self.send_head(Transfer_Encoding="chunked")
        self.wfile.write(b"fffff\r\n" + CONTENT[:1000])

    def answer_empty(self) -> None:
        self.send_head(Content_Length="0")

    def answer_missing(self) -> None:
        self.send_head(404, Content_Length="0")

    def answer_nothing(self) -> None:
        self.connection.close()

    def answer_no_http(self) -> None:
        self.wfile.write(b"what?\r\n\r\n")

    def answer_stalling(self) -> None:
        """Half the file, then silence."""
        self.send_head(Content_Length=str(len(CONTENT)))
        self.wfile.write(CONTENT[: len(CONTENT) // 2])
        self.wfile.flush()
        self.server.halfway.set()
        threading.Event().wait(20)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on a free port of this machine's loopback."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder; proxies and mirrors of the environment are out of the way."""
    for name in ("EDGE_OFFLINE", "EDGE_ZOO_URL", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def published(url: str, *, size: int | None = len(CONTENT), digits: int = 64) -> PublishedFile:
    """The file as the manifest describes it."""
    return PublishedFile(NAME, url, hashlib.sha256(CONTENT).hexdigest()[:digits], size)


@pytest.mark.parametrize(("size", "digits"), [(len(CONTENT), 64), (None, 8)])
def test_the_right_file_arrives_once(size, digits, server, cache):
    """It is fetched, checked and kept: the second time nothing is asked for. Some hashes are published in part."""
    arrived: list[int] = []
    wanted = published(server.url, size=size, digits=digits)

    first, second = fetch(wanted, arrived.append), fetch(wanted)

    assert first == second == cache / NAME
    assert first.read_bytes() == CONTENT
    assert arrived[-1] == len(CONTENT)
    assert server.requests == [f"/{NAME}"]
    assert [path.name for path in cache.iterdir()] == [NAME]


WRONG = {
    "altered": (FormatError, f"not {NAME} .SHA-256"),
    "short": (FormatError, f"1000 bytes arrived, {NAME} has 512000; try again"),
    "long": (FormatError, "more than the 512000 bytes"),
    "broken_off": (FormatError, "1000 bytes arrived"),
    "broken_off_chunk": (UsageError, "cannot be fetched .*IncompleteRead"),
    "empty": (FormatError, "0 bytes arrived"),
    "missing": (UsageError, "cannot be fetched .*Not Found.*; fetch .* yourself .* or weights=None"),
    "nothing": (UsageError, "cannot be fetched"),
    "no_http": (UsageError, "cannot be fetched"),
    "stalling": (UsageError, "cannot be fetched .*timed out"),
}


@pytest.mark.parametrize("behaviour", WRONG)
def test_nothing_wrong_is_kept(behaviour, server, cache, monkeypatch):
    """Every failure is an error with the file's name and the next step, and leaves no file; the next try succeeds."""
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.5)
    server.behaviour = behaviour
    kind, message = WRONG[behaviour]

    with pytest.raises(kind, match=message):
        fetch(published(server.url))

    assert not cache.exists() or not list(cache.iterdir())
    server.behaviour = "right"
    assert fetch(published(server.url)).read_bytes() == CONTENT


@pytest.mark.parametrize("behaviour", ["altered", "short", "broken_off", "empty"])
def test_without_a_known_size_the_hash_decides(behaviour, server, cache):
    """Of some files no size is published."""
    server.behaviour = behaviour

    with pytest.raises(FormatError, match="is not"):
        fetch(published(server.url, size=None, digits=8))

    assert not list(cache.iterdir())


def test_a_damaged_file_in_the_cache_is_fetched_again(server, cache):
    """A hash is checked on every use, not only on arrival."""
    cache.mkdir()
    (cache / NAME).write_bytes(CONTENT[:-1])

    assert fetch(published(server.url)).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_damaged_file_is_not_used_when_the_server_is_gone(server, cache):
    """Better no weights than wrong ones."""
    cache.mkdir()
    (cache / NAME).write_bytes(b"damaged")
    server.behaviour = "missing"

    with pytest.raises(UsageError, match="cannot be fetched"):
        fetch(published(server.url))


def test_offline_nothing_is_asked_for(server, cache, monkeypatch):
    """EDGE_OFFLINE=1 uses what is there and says what to do about the rest."""
    monkeypatch.setenv("EDGE_OFFLINE", "1")

    with pytest.raises(UsageError, match=r"EDGE_OFFLINE=1 forbids .*; fetch http.* yourself"):
        fetch(published(server.url))
    cache.mkdir()
    (cache / NAME).write_bytes(CONTENT)
    assert fetch(published(server.url)) == cache / NAME
    assert not server.requests


def test_a_mirror_has_the_files_by_name(server, monkeypatch):
    """EDGE_ZOO_URL replaces the address before the file's name."""
    monkeypatch.setenv("EDGE_ZOO_URL", server.url.removesuffix(NAME) + "mirror/")

    fetch(published("https://unreachable.invalid/somewhere.pth"))

    assert server.requests == [f"/mirror/{NAME}"]


def test_a_mirror_that_is_no_web_address_is_refused(monkeypatch):
    """Files of this machine are given as paths, not as a mirror."""
    monkeypatch.setenv("EDGE_ZOO_URL", "file:///etc")

    with pytest.raises(UsageError, match="'file:///etc' is no http address"):
        fetch(published("https://unreachable.invalid/x.pth"))


def test_load_fetches_by_the_manifest(server, monkeypatch):
    """`load` asks for the published file, and does not believe a server that sends something else."""
    monkeypatch.setenv("EDGE_ZOO_URL", server.url.removesuffix(f"/{NAME}"))

    with pytest.raises(FormatError, match=r"512000 bytes arrived, resnet18-f37072fd\.pth has 46830571"):
        pretrained.load("resnet18", weights="imagenet")
    assert server.requests == ["/resnet18-f37072fd.pth"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no kill -9")
def test_killed_halfway_leaves_no_usable_file(server, cache):
    """A kill -9 in the middle leaves at most a temporary file, which is never mistaken for the weights."""
    server.behaviour = "stalling"
    wanted = published(server.url)
    program = f"from edge_sdk.pretrained.download import *; fetch({wanted!r})"
    process = subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"EDGE_CACHE": str(cache)})
    assert server.halfway.wait(60)

    process.kill()
    process.wait(10)

    assert not (cache / NAME).exists()
    server.behaviour = "right"
    assert fetch(wanted).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_explained(server, cache):
    """The reason and the way out are named."""
    cache.write_text("a file where the folder should be")

    with pytest.raises(UsageError, match=r"cannot be fetched .*cache.*; fetch http.* yourself"):
        fetch(published(server.url))
