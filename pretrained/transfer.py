"""One request for a file over HTTP, which goes on where an earlier one ended."""

from __future__ import annotations

import contextlib
import email.utils
import errno
import http.client
import json
import os
import re
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from typing import Any, TypeAlias

from edge_sdk import __version__
from edge_sdk.atomic import atomic_write_bytes

CHUNK = 1 << 20
MOST_BYTES = 2 << 30
"""The largest file taken where no size is published; the zoo's largest has 0.6 GB."""
TEMPORARY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

Progress: TypeAlias = Callable[[int, int | None], None]
"""Told how many bytes have arrived, of how many where that is known."""


class TransferError(Exception):
    """A request that brought no complete file.

    `again` says whether the next one may; `wait` is for how many seconds the server asks before it. `wrong` says that
    the server has another file than the wanted one.
    """

    def __init__(self, reason: str, *, again: bool = False, wait: float | None = None, wrong: bool = False) -> None:
        super().__init__(reason)
        self.again, self.wait, self.wrong = again, wait, wrong


@dataclass(frozen=True)
class Partial:
    """What has arrived of a file, in `path`, and from where, in a small file beside it. Nobody else reads it."""

    path: Path

    @property
    def notes(self) -> Path:
        """The file that keeps address and version of what has arrived."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def bytes(self) -> int:
        """How much has arrived."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def version(self, url: str) -> str | None:
        """What `url` called the version of the file that the bytes are from, if it did."""
        try:
            known = json.loads(self.notes.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        version = known.get("version") if isinstance(known, dict) and known.get("url") == url else None
        return version if isinstance(version, str) and version.isprintable() else None

    def begin(self, url: str, version: str | None) -> None:
        """Take note of what the bytes are from that will come; bytes of another version are thrown away."""
        known = self.version(url)
        if known is not None and version is not None and known != version:
            self.discard()
        self.path.touch()
        atomic_write_bytes(self.notes, json.dumps({"url": url, "version": version}).encode())

    def discard(self) -> None:
        """Forget what has arrived."""
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


def receive(
    url: str, partial: Partial, sizes: tuple[int, int] | None, timeout: float, on_progress: Progress | None = None
) -> None:
    """Ask `url` for what is missing of a file and append it to `partial`; all of it has arrived when this returns.

    `sizes` are the least and the most bytes that the file may have. A server that cannot send a part sends all: that is
    written over what is there, which stays when the answer breaks off before its end. Proxies are the environment's.

    Raises:
        TransferError: no answer within `timeout` seconds, one that breaks off, or another file.
        OSError: the disk is full or cannot be written.
    """
    have = partial.bytes
    with _answer(url, have, partial, timeout) as response:
        total = _total(response, have, partial)
        most = _check_size(total, sizes)
        _check_room(partial.path.parent, (total or (sizes or (0, 0))[1]) - have)
        if response.status != http.client.PARTIAL_CONTENT:
            partial.begin(url, _version(response.headers))
            have = 0
        with partial.path.open("r+b", buffering=0) as file:
            file.seek(have)
            while chunk := _read(response, have, total):
                have += len(chunk)
                if have > most:
                    break
                _write(file, chunk)
                if on_progress is not None:
                    on_progress(have, total)
            os.fsync(file.fileno())
            if have >= (total or most):
                file.truncate()
    if have > most:
        partial.discard()
        raise TransferError(f"sends more than {most} bytes", wrong=True)
    if have < (total or (sizes[0] if sizes else 0)):
        raise TransferError(f"broke off after {have} of {total or most} bytes", again=True)


def _answer(url: str, have: int, partial: Partial, timeout: float) -> Any:
    headers = {"User-Agent": f"edge-sdk/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        version = partial.version(url)
        if version is not None:
            headers["If-Range"] = version
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - an http address of the manifest or the user
        # Not urlopen, which goes on with the proxies that the environment had when it was first called.
        return urllib.request.build_opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                partial.discard()
                raise TransferError(f"{error.code} {error.reason}", again=True, wait=0.0) from error
            again, wait = error.code in TEMPORARY_STATUS, _retry_after(error.headers)
            asks = f", asks to wait {wait:.0f} seconds" if again and wait else ""
            raise TransferError(f"{error.code} {error.reason}{asks}", again=again, wait=wait) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        # A name that is unknown now is so in a minute, too: there is no network, or a typing mistake.
        hopeless = isinstance(reason, socket.gaierror | http.client.InvalidURL | ValueError)
        raise TransferError(_text(reason), again=not hopeless) from error


def _total(response: Any, have: int, partial: Partial) -> int | None:
    """How many bytes the whole file has, by the server's word."""
    if response.headers.get_content_type() == "text/html":
        raise TransferError("answers with a web page")  # a proxy or a log-in speaks
    if response.status == http.client.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)", response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != have:
            partial.discard()
            raise TransferError("sends another part than the one asked for", again=True, wait=0.0)
        return None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if re.fullmatch(r"\d{1,15}", length) else None


def _check_size(size: int | None, sizes: tuple[int, int] | None) -> int:
    """Return the most bytes that may arrive."""
    least, most = sizes or (0, MOST_BYTES)
    if size is not None and not least <= size <= most:
        wanted = str(most) if least == most else f"{least} to {most}" if sizes else f"at most {most}"
        raise TransferError(f"has {size} bytes, wanted {wanted}", wrong=True)
    return most


def _check_room(folder: Path, missing: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < missing:
        raise OSError(errno.ENOSPC, f"no room for {missing} bytes, {free} are free", str(folder))


def _read(response: Any, have: int, total: int | None) -> bytes:
    try:
        return bytes(response.read1(CHUNK))
    except (OSError, http.client.HTTPException) as error:
        of = f" of {total}" if total is not None else ""
        raise TransferError(f"broke off after {have}{of} bytes: {_text(error)}", again=True) from error


def _write(file: Any, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _version(headers: Message) -> str | None:
    """A strong ETag, else the time of the last change: what If-Range takes (RFC 9110, section 13.1.5)."""
    tag = headers.get("ETag", "")
    return tag if re.fullmatch(r'"[!-~]*"', tag) else headers.get("Last-Modified")


def _retry_after(headers: Message) -> float | None:
    """Seconds, or a date from which on to ask again (RFC 9110, section 10.2.3)."""
    asked = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", asked):
        return float(asked)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        date = email.utils.parsedate_to_datetime(asked)
        if date.tzinfo is not None:
            return max(0.0, (date - datetime.now(UTC)).total_seconds())
    return None


def _text(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "timed out"
    return str(reason) or type(reason).__name__
