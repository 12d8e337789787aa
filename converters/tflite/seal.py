"""The hash inside a file of everything else in it: tells damage and edits from the file that was written.

The metadata entry EDGE_SHA256 is a mark and 32 bytes, the SHA-256 of the whole file with these 32 bytes as zeros. It is
no signature: whoever changes a file on purpose can hash it anew.
"""

from __future__ import annotations

import hashlib

from edge_sdk.errors import ExportError, FormatError

ENTRY = "EDGE_SHA256"
_MARK = b"edge-sdk:sha256:"
_SIZE = 32
PLACEHOLDER = _MARK + bytes(_SIZE)
"""What the entry holds until `seal` is called."""


def seal(data: bytes) -> bytes:
    """Return the file with its hash in place of the placeholder; raises ExportError when it is not there once."""
    at = _place(data)
    if at is None or data[at : at + _SIZE] != bytes(_SIZE):
        raise ExportError(f"a label or name of the file contains {_MARK.decode()!r}, which marks its hash; rename it")
    return data[:at] + hashlib.sha256(data).digest() + data[at + _SIZE :]


def is_intact(data: bytes, name: str) -> bool:
    """Tell whether a sealed file is as it was written; raises FormatError when the place of its hash is not there."""
    at = _place(data)
    if at is None:
        raise FormatError(f"{name}: holds no hash of itself; it is of another maker, an older edge-sdk, or damaged")
    hashed = hashlib.sha256(memoryview(data)[:at])
    hashed.update(bytes(_SIZE))
    hashed.update(memoryview(data)[at + _SIZE :])
    return hashed.digest() == data[at : at + _SIZE]


def _place(data: bytes) -> int | None:
    first = data.find(_MARK)
    if first < 0 or data.find(_MARK, first + 1) >= 0 or first + len(_MARK) + _SIZE > len(data):
        return None
    return first + len(_MARK)
