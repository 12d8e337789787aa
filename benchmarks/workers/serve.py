"""The protocol of a worker: print "ready", then for each line read do the work once and print its time and memory.

This file imports nothing but the standard library, for workers run in environments without edge-sdk.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping


def serve(work: Callable[[], object], about: Mapping[str, str]) -> None:
    """Answer {"about": …} when ready, then {"seconds": …, "peak_rss_mib": …} to each line of standard input."""
    for _ in range(2):
        work()
    answer({"about": dict(about)})
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        answer({"seconds": seconds, "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})


def answer(message: Mapping[str, object]) -> None:
    """Write one line of JSON."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
