"""The figures of results/ as a Markdown table.

    python -m benchmarks.table
    python -m benchmarks.table --bar "training step=1.5" --bar inference=1.0

With --bar, the speed that a kind must reach stands beside it, and a mark says whether it does.
"""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.ratios import KINDS, RESULTS, Ratio, read


def table(ratios: list[Ratio], bars: dict[str, float]) -> str:
    """Return the table, a line a comparison."""
    columns = ["", "ours", "best peer", "", "times its speed", "our memory", "its memory", "share"]
    columns += ["wanted"] if bars else []
    lines = [f"| {' | '.join(columns)} |", "|---|" + "---:|---:|---|" + "---:|" * (len(columns) - 4)]
    for ratio in ratios:
        cells = [
            f"{ratio.kind}, {ratio.case}", _time(ratio.seconds), _time(ratio.peer_seconds), ratio.peer,
            _plain(ratio.times_faster), _mebibytes(ratio.memory), _mebibytes(ratio.peer_memory),
            _plain(ratio.memory_ratio),
        ]  # fmt: skip
        if bars:
            cells.append(_verdict(ratio, bars.get(ratio.kind)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


def _mebibytes(size: float | None) -> str:
    return "–" if size is None else f"{size:.0f} MiB"


def _plain(number: float | None) -> str:
    return "–" if number is None else f"{number:.2f}"


def _verdict(ratio: Ratio, bar: float | None) -> str:
    if bar is None or ratio.times_faster is None:
        return "–"
    return f"{bar:g} {'✓' if ratio.times_faster >= bar else '✗'}"


@click.command(help=__doc__)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the JSON files.")
@click.option("--bar", "bars", multiple=True, help="KIND=TIMES that must be reached; may be repeated.")
def main(results: Path, bars: tuple[str, ...]) -> None:
    """Print the table."""
    wanted = {}
    for bar in bars:
        kind, _, number = bar.partition("=")
        if kind not in KINDS.values() or not number.replace(".", "", 1).isdigit():
            raise click.UsageError(f"--bar {bar!r} is not KIND=TIMES with a kind of {', '.join(KINDS.values())}")
        wanted[kind] = float(number)
    print(table(read(results), wanted))


if __name__ == "__main__":
    main()
