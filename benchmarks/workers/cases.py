"""The protocol of a worker that measures many cases: it is told of each, works in turns, and is told to drop it.

This file imports nothing but the standard library, for workers run in environments without edge-sdk.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from serve import answer


class Case(Protocol):
    """What is measured."""

    def seconds(self, runs: int) -> float:
        """Run so often, and return the seconds of one run."""

    def peak_bytes(self) -> int:
        """Return how much of the device's memory it has taken at most."""


def serve_cases(prepare: Callable[[Mapping[str, Any]], Case], about: Mapping[str, object]) -> None:
    """Answer {"about": …}, then each line of standard input: {"prepare": case}, {"runs": n} or {"drop": true}.

    The answers are {}, {"seconds": …, "peak_gpu_mib": …} and {}; where something fails, {"error": …} in one line.
    """
    answer({"about": dict(about)})
    case: Case | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "runs" in asked and case is not None:
                seconds = case.seconds(asked["runs"])
                answer({"seconds": seconds, "peak_gpu_mib": case.peak_bytes() / 2**20})
                continue
            case = None  # before another one takes memory
            if "prepare" in asked:
                case = prepare(asked["prepare"])
            answer({})
        except Exception as error:  # noqa: BLE001 - whatever a case does, the next ones are measured
            traceback.print_exc(file=sys.stderr)
            answer({"error": f"{type(error).__name__}: {error}".partition("\n")[0][:300]})
