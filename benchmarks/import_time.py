"""How long `import edge_sdk` and `edge --help` take in a fresh process.

    python -m benchmarks.import_time

prints the median of ten processes each, beside that of an interpreter that does nothing, and writes
results/import_time.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
RUNS = 10
SCRIPTS = {
    "python": "",
    "import edge_sdk": "import edge_sdk",
    "edge --help": "from edge_sdk.cli.main import main; main(['--help'])",
}
GOALS = {"import edge_sdk": 0.3, "edge --help": 0.5}
"""Seconds that the whole process may take."""


def seconds_of(script: str, runs: int = RUNS) -> list[float]:
    """Return the wall time of each of `runs` fresh processes, after one that fills the caches of files."""
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - our own
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def machine() -> dict[str, str | int]:
    """Return what the figures depend on."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count() or 1,
        "python": platform.python_version(),
        "click": version("click"),
        "edge_sdk": version("edge-sdk"),
    }


def main() -> None:
    """Measure, print, write."""
    figures: dict[str, dict[str, float | None]] = {}
    for name, script in SCRIPTS.items():
        seconds = seconds_of(script)
        goal = GOALS.get(name)
        figures[name] = {
            "median_seconds": round(statistics.median(seconds), 4),
            "slowest_seconds": round(max(seconds), 4),
            "goal_seconds": goal,
        }
        wanted = "" if goal is None else f"  (goal {goal:.1f} s)"
        print(f"{name:16} {statistics.median(seconds):.3f} s, slowest {max(seconds):.3f} s{wanted}")
    RESULTS.mkdir(exist_ok=True)
    report = {"runs": RUNS, "machine": machine(), "figures": figures}
    (RESULTS / "import_time.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
