"""Load a network with weights from a file, and print what that took of memory, in bytes: the process' own, and all.

Run as a process of its own: python load_in_little_memory.py NAME FILE. The pages of a mapped file count among all.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from pathlib import Path

from edge_sdk import pretrained

FIELDS = {"own": "RssAnon", "all": "VmRSS"}


def resident() -> dict[str, int]:
    """What the process has in memory now."""
    rows = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    return {name: 1024 * int(rows[field].split()[0]) for name, field in FIELDS.items()}


def main(name: str, file: str) -> None:
    """Print the largest of what was seen every half millisecond, above what was there before."""
    for module in ("edge_sdk.converters.weights_file", "safetensors.numpy", "edge_sdk.pretrained.checkpoint"):
        importlib.import_module(module)  # code is no memory of the weights
    before, largest, done = resident(), resident(), threading.Event()

    def watch() -> None:
        while not done.is_set():
            largest.update({key: max(largest[key], now) for key, now in resident().items()})
            time.sleep(0.0005)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    model = pretrained.load(name, weights=file)
    done.set()
    watcher.join()
    largest.update({key: max(largest[key], now) for key, now in resident().items()})
    sys.stdout.write(json.dumps({key: largest[key] - before[key] for key in before} | {"name": model.name}))


if __name__ == "__main__":
    main(*sys.argv[1:])
