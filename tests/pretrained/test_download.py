"""Weight files from a server on this machine, whatever it does: nothing but the published file is ever used, nothing
that has arrived is lost, and each failure says what to do.
"""

from __future__ import annotations

import dataclasses
import email.utils
import shutil
import time
from datetime import UTC, datetime, timedelta
from email.message import Message
from pathlib import Path
from types import SimpleNamespace

import pytest
from weight_server import CONTENT, HALF, NAME, OTHER, SHA256, Request, running_server

from edge_sdk import pretrained
from edge_sdk.errors import FormatError, UsageError
from edge_sdk.pretrained import transfer
from edge_sdk.pretrained.digest import Digest
from edge_sdk.pretrained.download import Patience, PublishedFile, fetch

EXACT = (len(CONTENT), len(CONTENT))
IMPATIENT = Patience(timeout=10, tries=3, first_wait=0.001, longest_wait=0.01)
PART = f"{NAME}.part"

pytestmark = pytest.mark.usefixtures("cache")


def published(*urls: str, sizes: tuple[int, int] | None = EXACT, digits: int = 64) -> PublishedFile:
    """The file as the manifest describes it."""
    return PublishedFile(NAME, urls, Digest("sha256", SHA256[:digits]), sizes)


def patience(behaviour: str) -> Patience:
    """Few tries, little waiting, and none of it for a server that is silent."""
    return dataclasses.replace(IMPATIENT, timeout=0.4) if behaviour == "stalling" else IMPATIENT


def part_of(cache: Path, content: bytes) -> None:
    """Leave what an earlier download would have."""
    cache.mkdir(exist_ok=True)
    (cache / PART).write_bytes(content)


@pytest.mark.parametrize("behaviour", ["right", "ignoring_range", "chunked"])
@pytest.mark.parametrize(("sizes", "digits"), [(EXACT, 64), ((511_000, 513_000), 8), (None, 8)])
def test_the_right_file_arrives_once(behaviour, sizes, digits, server, cache):
    """It is fetched, checked and kept: later nothing is asked for. Not all hashes and sizes are known in full."""
    server.behaviours = [behaviour]
    arrived: list[tuple[int, int | None]] = []
    wanted = published(server.url, sizes=sizes, digits=digits)

    first, second = fetch(wanted, lambda *progress: arrived.append(progress)), fetch(wanted)

    assert first == second
    assert (first.path, first.sha256) == (cache / NAME, SHA256)
    assert first.path.read_bytes() == CONTENT
    assert arrived[-1] == (len(CONTENT), None if behaviour == "chunked" else len(CONTENT))
    assert server.requests == [Request(f"/{NAME}", None, None)]
    assert [path.name for path in cache.iterdir()] == [NAME]


# The way of answering, the error, its message, how many requests are made, how much is kept for the next try.
WRONG = {
    "other": (FormatError, rf"\(SHA-256 .*: what arrived is not {NAME}; try again later, or fetch http", 1, 0),
    "short": (FormatError, "has 1000 bytes, wanted 512000", 1, 0),
    "long": (FormatError, "has 512001 bytes, wanted 512000", 1, 0),
    "endless": (FormatError, "sends more than 512000 bytes", 1, 0),
    "empty": (FormatError, "has 0 bytes, wanted 512000", 1, 0),
    "lying_length": (UsageError, "broke off after 1000 of 512000 bytes.*; 1000 bytes are kept", 4, 1000),
    "breaking_off_in_a_chunk": (UsageError, "broke off after 1000 .*IncompleteRead.*1000 bytes are kept", 4, 1000),
    "web_page": (UsageError, "answers with a web page", 1, 0),
    "missing": (
        UsageError,
        "cannot be fetched .*404 Not Found.*; try again, or fetch .* yourself.* weights=None",
        1,
        0,
    ),
    "forbidden": (UsageError, "403 Forbidden", 1, 0),
    "failing": (UsageError, "500 Internal Server Error", 3, 0),
    "busy": (UsageError, "503 Service Unavailable", 3, 0),
    "busy_for_an_hour": (UsageError, "429 Too Many Requests, asks to wait 3600 seconds", 1, 0),
    "another_part": (UsageError, "sends another part", 3, 0),
    "nothing": (UsageError, "cannot be fetched", 3, 0),
    "no_http": (UsageError, "cannot be fetched", 3, 0),
    "stalling": (UsageError, "timed out.*256000 bytes are kept", 4, HALF),
}


@pytest.mark.parametrize("behaviour", WRONG)
def test_nothing_wrong_is_used(behaviour, server, cache):
    """Every failure is an error with the file's name and the next step; what has arrived is kept unless it is wrong."""
    server.behaviours = [behaviour]
    kind, message, requests, kept = WRONG[behaviour]

    with pytest.raises(kind, match=message):
        fetch(published(server.url), patience=patience(behaviour))

    assert len(server.requests) == requests
    assert not (cache / NAME).exists()
    assert ((cache / PART).stat().st_size if (cache / PART).exists() else 0) == kept
    server.behaviours = ["right"]
    assert fetch(published(server.url)).path.read_bytes() == CONTENT
    assert server.ranges[-1] == (f"bytes={kept}-" if kept else None)
    assert [path.name for path in cache.iterdir()] == [NAME]


@pytest.mark.parametrize("behaviour", ["other", "short", "empty", "web_page"])
def test_without_a_known_size_the_hash_decides(behaviour, server, cache):
    """Of some files no size is published."""
    server.behaviours = [behaviour]

    with pytest.raises((FormatError, UsageError), match=r"is not|web page"):
        fetch(published(server.url, sizes=None, digits=8), patience=IMPATIENT)

    assert not list(cache.iterdir())


def test_a_broken_download_goes_on_where_it_ended(server):
    """Each answer brings half of what is missing: as long as something comes, patience does not end."""
    server.behaviours = [*["breaking_off"] * 8, "right"]

    fetch(published(server.url), patience=IMPATIENT)

    starts = [int((asked or "bytes=0-")[6:-1]) for asked in server.ranges]
    assert len(starts) == 9
    assert starts == sorted(set(starts))
    assert {request.version for request in server.requests[1:]} == {'"first"'}


@pytest.mark.parametrize(
    "trouble", ["failing", "busy", "nothing", "no_http", "lying_length", "stalling", "another_part"]
)
def test_passing_trouble_is_waited_out(trouble, server):
    """One bad answer, then the right one."""
    server.behaviours = [trouble, "right"]

    assert fetch(published(server.url), patience=patience(trouble)).sha256 == SHA256
    assert len(server.requests) == 2


def test_a_server_that_cannot_send_a_part_loses_nothing(server, cache):
    """It sends all again; when that breaks off early, what was there before is still there."""
    part_of(cache, CONTENT[:HALF])
    server.behaviours = ["lying_length"]

    with pytest.raises(UsageError, match="256000 bytes are kept"):
        fetch(published(server.url), patience=IMPATIENT)

    assert (cache / PART).read_bytes() == CONTENT[:HALF]
    server.behaviours = ["ignoring_range"]
    assert fetch(published(server.url)).path.read_bytes() == CONTENT


def test_another_version_is_not_appended_to(server):
    """The file changed after the first half: the server is told which version that was, and sends the whole new one."""
    server.behaviours = ["stalling"]
    wanted = published(server.url)
    with pytest.raises(UsageError):
        fetch(wanted, patience=Patience(timeout=0.3, tries=1))
    server.behaviours, server.version = ["right"], '"second"'

    fetch(wanted)

    assert server.requests[-1] == Request(f"/{NAME}", f"bytes={HALF}-", '"first"')


@pytest.mark.parametrize("left", [OTHER[:HALF], OTHER, CONTENT + b"!"])
@pytest.mark.parametrize("sizes", [EXACT, None])
def test_what_is_left_of_another_file_is_thrown_away(left, sizes, server, cache):
    """A damaged part is found out by the hash in the end, and the file is fetched from its beginning."""
    part_of(cache, left)

    assert fetch(published(server.url, sizes=sizes), patience=IMPATIENT).path.read_bytes() == CONTENT
    assert server.ranges[-1] is None
    assert [path.name for path in cache.iterdir()] == [NAME]


def test_a_complete_part_is_only_checked(server, cache):
    """A process that was killed before it renamed the file has left nothing to download."""
    part_of(cache, CONTENT)

    assert fetch(published(server.url)).path.read_bytes() == CONTENT
    assert not server.requests


@pytest.mark.parametrize("trouble", ["missing", "short", "other", "stalling", "failing"])
def test_the_next_mirror_goes_on(trouble, server):
    """Mirrors are asked in turn, and one goes on where the other ended."""
    with running_server() as mirror:
        server.behaviours = [trouble]

        fetch(published(server.url, mirror.url), patience=patience(trouble))

        assert mirror.requests == [Request(f"/{NAME}", f"bytes={HALF}-" if trouble == "stalling" else None, None)]


def test_all_mirrors_are_named_when_none_has_it(server):
    """With the reason of each."""
    server.behaviours = ["missing", "forbidden"]

    with pytest.raises(UsageError, match=r"/a/.* \(404 Not Found\), .*/b/.* \(403 Forbidden\)"):
        fetch(published(f"{server.folder}/a/{NAME}", f"{server.folder}/b/{NAME}"), patience=IMPATIENT)


def test_a_redirection_is_followed(server):
    """With the part that is wanted."""
    server.behaviours = ["moved", "breaking_off", "moved", "right"]

    fetch(published(server.url), patience=IMPATIENT)

    assert [request.path for request in server.requests] == [f"/{NAME}", f"/elsewhere/{NAME}"] * 2
    assert server.ranges == [None, None, f"bytes={HALF}-", f"bytes={HALF}-"]


def test_a_proxy_of_the_environment_is_used(server, monkeypatch):
    """It is asked for the whole address, which this machine never looks up."""
    monkeypatch.setenv("http_proxy", server.folder)

    fetch(published(f"http://weights.invalid/{NAME}"))

    assert [request.path for request in server.requests] == [f"http://weights.invalid/{NAME}"]


def test_a_certificate_that_nobody_signed_is_refused(monkeypatch):
    """On https a server must prove who it is before anything is asked; who trusts its certificate gets the file."""
    certificate = Path(__file__).parent / "files" / "self_signed.pem"
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited"))
    with running_server(certificate) as server:
        wanted = published(server.url.replace("http:", "https:"))

        with pytest.raises(UsageError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch(wanted)
        assert not server.requests
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch(wanted).sha256 == SHA256


def test_an_unknown_name_is_not_waited_for(monkeypatch):
    """Where there is no network, there is none in a minute either."""
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited"))

    with pytest.raises(UsageError, match=r"cannot be fetched from http://weights\.invalid"):
        fetch(published(f"http://weights.invalid/{NAME}"))


def test_waiting_is_doubled_and_follows_the_server():
    """Twice as long each time, less a random part up to a half, to a most; or as long as the server asks for."""
    chosen = Patience(first_wait=1, longest_wait=5)

    for fruitless, most in ((1, 1), (2, 2), (3, 4), (4, 5), (9, 5)):
        waits = {chosen.wait(fruitless, None) for _ in range(50)}
        assert most / 2 <= min(waits) < max(waits) <= most
    assert chosen.wait(3, 7.5) == 7.5


@pytest.mark.parametrize("left", [CONTENT[:-1], OTHER, b""])
def test_a_damaged_file_in_the_cache_is_fetched_again(left, server, cache):
    """A hash is checked on every use, not only on arrival; better no weights than wrong ones."""
    cache.mkdir()
    (cache / NAME).write_bytes(left)
    server.behaviours = ["missing", "right"]

    with pytest.raises(UsageError, match="cannot be fetched"):
        fetch(published(server.url))
    assert fetch(published(server.url)).path.read_bytes() == CONTENT


def test_offline_nothing_is_asked_for(server, cache, monkeypatch):
    """EDGE_OFFLINE=1 uses what is there and says what to do about the rest."""
    monkeypatch.setenv("EDGE_OFFLINE", "1")

    with pytest.raises(UsageError, match=r"EDGE_OFFLINE=1 forbids .*; fetch http.* yourself, as .*cache"):
        fetch(published(server.url))
    assert not cache.exists()
    cache.mkdir()
    (cache / NAME).write_bytes(CONTENT)
    assert fetch(published(server.url)).path == cache / NAME
    assert not server.requests


def test_mirrors_of_the_environment_have_the_files_by_name(server, monkeypatch):
    """EDGE_ZOO_URL replaces the addresses before the file's name; several are asked in turn."""
    monkeypatch.setenv("EDGE_ZOO_URL", f"{server.folder}/a {server.folder}/b/")
    server.behaviours = ["missing", "right"]

    fetch(published("https://unreachable.invalid/somewhere.pth"))

    assert [request.path for request in server.requests] == [f"/a/{NAME}", f"/b/{NAME}"]


def test_a_mirror_that_is_no_web_address_is_refused(monkeypatch):
    """Files of this machine are given as paths, not as a mirror."""
    monkeypatch.setenv("EDGE_ZOO_URL", "file:///etc")

    with pytest.raises(UsageError, match="'file:///etc' is no http address"):
        fetch(published("https://unreachable.invalid/x.pth"))


@pytest.mark.parametrize("weights", ["imagenet", "imagenet1k_v1", "resnet18.imagenet1k_v1"])
def test_load_fetches_by_the_manifest(weights, server, monkeypatch):
    """`load` asks for the published file, and does not believe a server that sends something else."""
    monkeypatch.setenv("EDGE_ZOO_URL", server.folder)

    with pytest.raises(FormatError, match=r"resnet18-f37072fd\.pth \(has 512000 bytes, wanted 46830571\)"):
        pretrained.load("resnet18", weights=weights)
    assert [request.path for request in server.requests] == ["/resnet18-f37072fd.pth"]


def test_a_full_disk_is_noticed_before_anything_is_written(server, cache, monkeypatch):
    """The way out is named."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))

    with pytest.raises(UsageError, match=r"no room for 512000 bytes, 1000 are free.*another folder in EDGE_CACHE"):
        fetch(published(server.url))
    assert not list(cache.iterdir())


@pytest.mark.parametrize("address", ["http://[::1", "http://127.0.0.1:port", "http://ä.invalid:80"])
def test_an_address_that_is_none_is_explained(address, monkeypatch):
    """A typing mistake in the mirror's address is no traceback, and is not waited for."""
    monkeypatch.setenv("EDGE_ZOO_URL", address)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited"))

    with pytest.raises(UsageError, match="cannot be fetched from http"):
        fetch(published("http://unreachable.invalid/x.pth"))


def test_a_cache_that_cannot_be_written_is_explained(server, cache):
    """The reason and the way out are named."""
    cache.write_text("a file where the folder should be")

    with pytest.raises(UsageError, match=r"cannot be kept in .*cache.*; fetch http.* yourself"):
        fetch(published(server.url))


@pytest.mark.parametrize(
    ("headers", "version", "wait"),
    [
        ({"ETag": '"a"', "Retry-After": "7"}, '"a"', 7),
        ({"ETag": 'W/"a"', "Last-Modified": "Mon, 06 Jul 2026 10:00:00 GMT"}, "Mon, 06 Jul 2026 10:00:00 GMT", None),
        ({"Retry-After": "Mon, 06 Jul 2015 10:00:00 GMT"}, None, 0),
        ({"Retry-After": "soon"}, None, None),
        ({"Retry-After": "-1"}, None, None),
        ({"ETag": '"a\tb"', "Retry-After": "9" * 40}, None, None),
    ],
)
def test_headers_are_read_with_care(headers, version, wait):
    """Only a strong tag, or a date, names a version (RFC 9110); a server may ask to wait by seconds or by a date."""
    message = Message()
    for name, value in headers.items():
        message[name] = value

    assert transfer._version(message) == version
    assert transfer._retry_after(message) == wait


def test_a_date_to_wait_for_is_counted_from_now():
    """Within the second that the test takes."""
    message = Message()
    message["Retry-After"] = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    assert 90 < transfer._retry_after(message) <= 100


def test_reasons_are_never_empty():
    """Some errors of the system have no text of their own."""
    assert (transfer._text(TimeoutError()), transfer._text(ConnectionResetError())) == (
        "timed out", "ConnectionResetError",
    )  # fmt: skip
