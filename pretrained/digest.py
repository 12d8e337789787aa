"""Published hashes of files: whole, or their first digits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_sdk.errors import FormatError

LENGTHS = {"sha256": 64, "sha384": 96, "sha1": 40}
LEAST_DIGITS = 8
CHUNK = 1 << 20


@dataclass(frozen=True)
class Digest:
    """A hash as its publisher gives it: an algorithm and at least eight of its first hexadecimal digits."""

    algorithm: str
    digits: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.digits}"

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Read `sha256:0676ba61…`; raises FormatError."""
        found = re.fullmatch(r"(sha\d+):([0-9a-f]+)", text) if isinstance(text, str) else None
        if found is None or not LEAST_DIGITS <= len(found[2]) <= LENGTHS.get(found[1], 0):
            known = ", ".join(LENGTHS)
            raise FormatError(f"digest {text!r}: wanted one of {known}, a colon and {LEAST_DIGITS} or more digits")
        return cls(found[1], found[2])

    def start(self) -> Hashing:
        """Return a computation to which a file's bytes are shown in order."""
        return Hashing(self)

    def of(self, path: Path, on_bytes: Callable[[int], None] | None = None) -> Hashing:
        """Hash a file; `on_bytes` is told how many bytes were read."""
        hashing, done = self.start(), 0
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                hashing.update(chunk)
                done += len(chunk)
                if on_bytes is not None:
                    on_bytes(done)
        return hashing


class Hashing:
    """The published hash of bytes, and their SHA-256, computed together."""

    def __init__(self, wanted: Digest) -> None:
        self._wanted = wanted
        self._sha256 = hashlib.sha256()
        self._other = None if wanted.algorithm == "sha256" else hashlib.new(wanted.algorithm)

    def update(self, data: bytes) -> None:
        """Go on with the next bytes."""
        self._sha256.update(data)
        if self._other is not None:
            self._other.update(data)

    @property
    def sha256(self) -> str:
        """The SHA-256 so far, in hexadecimal digits."""
        return self._sha256.hexdigest()

    @property
    def matches(self) -> bool:
        """Whether the bytes so far are those of the published file."""
        found = self.sha256 if self._other is None else self._other.hexdigest()
        return found.startswith(self._wanted.digits)
