"""Published weight files: downloaded once, checked before they are used."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_sdk.atomic import atomic_write
from edge_sdk.errors import FormatError, UsageError

CHUNK = 1 << 20
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class PublishedFile:
    """A file to fetch: its SHA-256 may be the published first digits; `size` in bytes where it is known."""

    file: str
    url: str
    sha256: str
    size: int | None


def cache_folder() -> Path:
    """Where weight files are kept: $EDGE_CACHE, or the user's cache folder."""
    import platformdirs

    chosen = os.environ.get("EDGE_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("edge-sdk", appauthor=False)) / "weights"


def fetch(published: PublishedFile, on_bytes: Callable[[int], None] | None = None) -> Path:
    """Return the local file, downloading it first where needed; `on_bytes` is told how many bytes have arrived.

    $EDGE_ZOO_URL names a mirror that has the files by name; $EDGE_OFFLINE=1 forbids downloads.

    Raises:
        UsageError: the file is not there and cannot be fetched; the message says what to do.
        FormatError: what arrived is not the published file.
    """
    path = cache_folder() / published.file
    if path.exists() and _digest(path).startswith(published.sha256):
        return path
    advice = f"fetch {published.url} yourself and give its path as weights, or weights=None"
    if os.environ.get("EDGE_OFFLINE") == "1":
        raise UsageError(
            f"weights {published.file} are not in {path.parent} and EDGE_OFFLINE=1 forbids to fetch them; {advice}"
        )
    mirror = os.environ.get("EDGE_ZOO_URL")
    url = f"{mirror.rstrip('/')}/{published.file}" if mirror else published.url
    if not url.startswith(("https://", "http://")):
        raise UsageError(f"EDGE_ZOO_URL: {mirror!r} is no http address")
    try:
        _stream(url, path, published, on_bytes)
    except (OSError, http.client.HTTPException) as error:  # no answer, a broken one, or no room for it
        reason = getattr(error, "reason", error)
        raise UsageError(f"weights {published.file} cannot be fetched from {url} ({reason}); {advice}") from error
    return path


def _stream(url: str, path: Path, published: PublishedFile, on_bytes: Callable[[int], None] | None) -> None:
    """Write the download under a temporary name; it gets its own only when size and hash are right."""
    hashed, received = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, atomic_write(path) as file:  # noqa: S310
        if published.size is not None and shutil.disk_usage(path.parent).free < published.size:
            raise UsageError(f"{path.parent} has no room for the {published.size} bytes of {published.file}")
        while chunk := response.read(CHUNK):
            received += len(chunk)
            if published.size is not None and received > published.size:
                raise FormatError(f"{url}: more than the {published.size} bytes of {published.file}")
            hashed.update(chunk)
            file.write(chunk)
            if on_bytes is not None:
                on_bytes(received)
        if published.size is not None and received != published.size:
            raise FormatError(f"{url}: {received} bytes arrived, {published.file} has {published.size}; try again")
        if not hashed.hexdigest().startswith(published.sha256):
            raise FormatError(f"{url}: what arrived is not {published.file} (SHA-256 {hashed.hexdigest()[:16]}…)")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
