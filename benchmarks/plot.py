"""The figures of results/ as a picture, docs/images/speed.svg: how many times the best peer's speed, and its memory.

    pip install -e '.[bench]'
    python -m benchmarks.plot

Bars beyond the line at 1 are faster than the fastest peer, or take more memory than it does. Colours are readable on
white and on black, and the background is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks.ratios import RESULTS, Ratio, read

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "speed.svg"
# Of middling lightness: contrast of 3 or more with white and with GitHub's dark background.
SPEED, MEMORY, TEXT, GRID = "#1f83d6", "#c2690b", "#7d8590", "#7d859055"


def panels(ratios: list[Ratio]) -> list[tuple[str, str, list[tuple[str, float, str]]]]:
    """Return title, colour and bars (label, ratio, peer) of each panel that has any."""
    found = []
    for title, kinds in (
        ("Training: times the best peer's speed", ("training step",)),
        ("Inference: times the best peer's speed", ("inference",)),
        ("Whole processes: times the best peer's speed", ("fine-tuning", "cold start")),
    ):
        bars = [
            (_label(r, kinds[0] if len(kinds) == 1 else ""), r.times_faster, r.peer)
            for r in ratios
            if r.kind in kinds and r.times_faster
        ]
        found.append((title, SPEED, bars))
    # Programs that only infer are compared with one another; what training takes matters most on a laptop.
    kinds = ("training step", "fine-tuning", "memory")
    bars = [(_label(r, kinds[0]), r.memory_ratio, r.peer) for r in ratios if r.kind in kinds and r.memory_ratio]
    found.append(("Memory of training: share of the best peer's", MEMORY, bars))
    return [panel for panel in found if panel[2]]


def _label(ratio: Ratio, usual: str) -> str:
    return ratio.case if ratio.kind == usual else f"{ratio.case} ({ratio.kind})"


def draw(ratios: list[Ratio], path: Path) -> None:
    """Draw horizontal bars, a panel a subject; the file's type follows from its suffix."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "speed", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10})
    import matplotlib.pyplot as plt

    shown = panels(ratios)
    rows = [len(bars) for _, _, bars in shown]
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(8, 0.32 * sum(rows) + 0.9 * len(shown)), squeeze=False, height_ratios=rows,
        layout="constrained",
    )  # fmt: skip
    for axis, (title, colour, bars) in zip(axes[:, 0], shown, strict=True):
        _draw_panel(axis, title, colour, bars)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _draw_panel(axis: Any, title: str, colour: str, bars: list[tuple[str, float, str]]) -> None:
    places = range(len(bars))
    axis.barh(places, [value for _, value, _ in bars], color=colour, height=0.7)
    longest = max(value for _, value, _ in bars)
    for place, (_, value, peer) in zip(places, bars, strict=True):
        axis.text(value + longest / 100, place, f"{value:.2f} × {peer}", va="center", color=TEXT, fontsize=9)
    axis.set_yticks(places, [label for label, _, _ in bars])
    axis.invert_yaxis()
    axis.set_xlim(0, max(1.35 * longest, 1.2))
    axis.axvline(1, color=TEXT, linewidth=1.2, linestyle="--")
    axis.set_title(title, loc="left", color=TEXT, fontweight="bold", fontsize=11)
    axis.tick_params(colors=TEXT, length=0)
    axis.grid(axis="x", color=GRID, linewidth=0.6)
    axis.set_axisbelow(True)
    for side in axis.spines.values():
        side.set_visible(False)


@click.command(help=__doc__)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the JSON files.")
@click.option("--out", type=click.Path(path_type=Path), default=PICTURE, show_default=True, help=".svg or .png.")
def main(results: Path, out: Path) -> None:
    """Draw the picture."""
    ratios = read(results)
    if not panels(ratios):
        raise click.UsageError(f"{results} holds no comparison with a peer")
    try:
        draw(ratios, out)
    except ModuleNotFoundError as error:
        raise click.UsageError("drawing needs matplotlib: pip install 'edge-sdk[bench]'") from error
    print(out)


if __name__ == "__main__":
    main()
