"""Which engines of a library computed something: found once for a device and a version, remembered on disk.

A search is a function of device, version and shapes alone, so that what is remembered changes no result.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.autotune import tuning_folder

FORMAT = 1
LARGEST_NUMBER = 2**63 - 1

Engine = tuple[int, tuple[tuple[int, int], ...]]
"""An engine's number and its knobs (type, value)."""


class AlgorithmCache:
    """Engines by what they compute, the best first, of one library on one device.

    A file that is damaged or of another device or version counts as empty; a folder that cannot be written costs time.
    """

    def __init__(self, library: str, version: str, device: str) -> None:
        self._identity = {"library": library, "version": version, "device": device}
        digest = hashlib.sha256(json.dumps(self._identity, sort_keys=True).encode()).hexdigest()[:12]
        self.path: Path = tuning_folder() / f"{library}-{version}-{digest}.json"
        self._known = self._read()
        self._passing: dict[str, list[Engine]] = {}

    def get(self, key: str) -> list[Engine] | None:
        """Return what was found for a key: nothing usable where the list is empty; None where nobody has looked."""
        return self._passing.get(key, self._known.get(key))

    def put(self, key: str, engines: list[Engine], *, on_disk: bool = True) -> None:
        """Remember what was found, on disk beside what other processes have written since."""
        if not on_disk:
            self._passing[key] = engines
            return
        self._passing.pop(key, None)
        self._known = self._read() | self._known | {key: engines}
        content = {"format": FORMAT, "made_for": self._identity, "engines": dict(sorted(self._known.items()))}
        with contextlib.suppress(OSError):
            atomic_write_bytes(self.path, (json.dumps(content, indent=1) + "\n").encode())

    def without_engine(self) -> tuple[int, int]:
        """Return for how many keys nothing usable was found, and how many there are."""
        return sum(not engines for engines in self._known.values()), len(self._known)

    def _read(self) -> dict[str, list[Engine]]:
        try:
            content = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(content, dict):
            return {}
        if (content.get("format"), content.get("made_for")) != (FORMAT, self._identity):
            return {}
        found = content.get("engines")
        read = {key: _engines(value) for key, value in found.items()} if isinstance(found, dict) else {}
        return {key: engines for key, engines in read.items() if engines is not None}


def _engines(value: Any) -> list[Engine] | None:
    """Engines as a file has them, None for anything else."""
    if not isinstance(value, list):
        return None
    engines = []
    for one in value:
        if not (isinstance(one, list) and len(one) == 2 and _is_number(one[0]) and isinstance(one[1], list)):
            return None
        if not all(isinstance(knob, list) and len(knob) == 2 and all(map(_is_number, knob)) for knob in one[1]):
            return None
        engines.append((one[0], tuple((kind, setting) for kind, setting in one[1])))
    return engines


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_NUMBER
