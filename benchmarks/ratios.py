"""The figures of results/*.json in one form: ours beside the best peer's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
OURS = "edge_sdk"
ON_A_GPU = "on a GPU,"

# File → what it measures. A file that is not there has not been measured yet, and is left out.
KINDS: Mapping[str, str] = {
    "train_step": "training step",
    "finetune": "fine-tuning",
    "inference": "inference",
    "coldstart": "cold start",
    "memory": "memory",
    "scaling": "scaling",
}


@dataclass(frozen=True)
class Ratio:
    """One measurement: seconds and peak MiB of ours and of the peer that was fastest; None where not measured."""

    kind: str
    case: str
    peer: str
    seconds: float | None
    peer_seconds: float | None
    memory: float | None
    peer_memory: float | None

    @property
    def times_faster(self) -> float | None:
        """How many times the peer's speed ours is."""
        return self.peer_seconds / self.seconds if self.seconds and self.peer_seconds else None

    @property
    def memory_ratio(self) -> float | None:
        """Our memory as a share of the peer's."""
        return self.memory / self.peer_memory if self.memory and self.peer_memory else None


def read(folder: Path = RESULTS) -> list[Ratio]:
    """Return every comparison that the files hold, in the order of KINDS, then by case.

    An entry has `figures`: program → `median_seconds` (of a process `seconds`, or `first step`) and perhaps
    `peak_rss_mib`, or `peak_gpu_mib` of a GPU, whose files name the chip. The best peer is the fastest; where nothing
    was timed, the one that takes least memory. Entries of another form, or without a peer, are left out.
    """
    found = []
    on_gpus = {path.stem: ON_A_GPU for path in sorted(folder.glob("gpu-*.json"))}
    for name, kind in {**KINDS, **on_gpus}.items():
        path = folder / f"{name}.json"
        content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        entries = content.items() if isinstance(content, dict) else ()
        ratios = [ratio for case, entry in entries for ratio in _ratio(_named(kind, entry), case, entry)]
        found += sorted(ratios, key=lambda ratio: _order(ratio.case))
    return found


def _named(kind: str, entry: Any) -> str:
    """The kind, with the chip of a GPU."""
    return f"{kind} {entry.get('chip', '')}".strip() if kind == ON_A_GPU and isinstance(entry, dict) else kind


def _ratio(kind: str, case: str, entry: Any) -> Iterator[Ratio]:
    figures = entry.get("figures") if isinstance(entry, dict) else None
    if not isinstance(figures, dict) or not isinstance(figures.get(OURS), dict):
        return
    figures = {name: _timed(figure) for name, figure in figures.items() if isinstance(figure, dict)}
    peers = {name: figure for name, figure in figures.items() if not name.startswith(OURS)}
    for key in ("median_seconds", "peak_rss_mib"):
        timed = {name: figure for name, figure in peers.items() if _number(figure, key)}
        if timed and _number(figures[OURS], key):
            peer = min(timed, key=lambda name: timed[name][key])
            ours, theirs = figures[OURS], timed[peer]
            times = (_number(figure, "median_seconds") for figure in (ours, theirs))
            memory = (_number(figure, "peak_rss_mib") for figure in (ours, theirs))
            yield Ratio(kind, case, peer, *times, *memory)
            return


def _timed(figure: Mapping[str, Any]) -> dict[str, Any]:
    """The figures with the seconds of a whole process, or up to its first step, as those to compare."""
    whole = [figure[key] for key in ("seconds", "first step") if key in figure]
    memory = [figure[key] for key in ("peak_gpu_mib",) if key in figure]
    named = {"median_seconds": whole[:1], "peak_rss_mib": memory}
    return {name: found[0] for name, found in named.items() if found} | dict(figure)


def _number(figure: Mapping[str, Any], key: str) -> float | None:
    value = figure.get(key)
    return float(value) if isinstance(value, int | float) and value > 0 else None


def _order(case: str) -> tuple[str, int, str]:
    """Cases such as `resnet18 b16` by network, then by batch as a number."""
    network, _, rest = case.partition(" ")
    digits = rest.removeprefix("b").split(" ")[0]
    return network, int(digits) if digits.isdigit() else 0, rest
