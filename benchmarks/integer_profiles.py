"""How many stored numbers differ from the runtime's, and how many from one of its sets of kernels to another.

    python -m benchmarks.integer_profiles [CASES]

draws that many cases of each kind of operator (tests/any_int8.py) and prints the table of
docs/quantization-arithmetic.md.
"""

from __future__ import annotations

import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np

from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.quantization.profile import PROFILES, Profile
from edge_sdk.session import Session
from edge_sdk.spec import Array

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from any_int8 import KINDS, any_case

CASES = 300
PAIRS: tuple[tuple[Profile, Profile], ...] = (
    ("reference", "litert"), ("reference", "xnnpack"), ("litert", "xnnpack"),
)  # fmt: skip


def differing(some: list[Array], others: list[Array]) -> int:
    """How many numbers differ."""
    return sum(int((a != b).sum()) for a, b in zip(some, others, strict=True))


def row(kind: str, cases: int) -> str:
    """A row of the table: outputs, those unlike the runtime's by profile, and those that differ between its kernels."""
    counts: Counter[object] = Counter()
    outputs = 0
    for seed in range(cases):
        graph, weights, feeds = any_case(kind, seed).program()
        data = write(graph, weights).data
        theirs = {p: list(TFLiteModel(data, profile=p).invoke(feeds).values()) for p in PROFILES}
        outputs += sum(np.size(array) for array in theirs["reference"])
        for profile in PROFILES:
            ours = Session(graph, weights, profile=profile).run(feeds)
            counts[profile] += differing(list(ours.values()), theirs[profile])
        for pair in PAIRS:
            counts[pair] += differing(theirs[pair[0]], theirs[pair[1]])
    shares = [_share(counts[key] / outputs) for key in (*PROFILES, *PAIRS)]
    return f"| {kind} | {outputs:,} | {' | '.join(shares)} |"


def _share(part: float) -> str:
    return "0" if part == 0 else f"{100 * part:.2g} %"


def main() -> None:
    """Print the table."""
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else CASES
    print(f"ai-edge-litert {version('ai-edge-litert')}, {cases} cases of each kind\n")
    print("| operator | outputs | reference | litert | xnnpack | " + " | ".join(f"{a}–{b}" for a, b in PAIRS) + " |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        print(row(kind, cases), flush=True)


if __name__ == "__main__":
    main()
