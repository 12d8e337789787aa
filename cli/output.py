"""What the commands share in printing: JSON for machines, tables and progress bars for people."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from edge_sdk.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from edge_sdk.data.loader import Unreadable
    from edge_sdk.evaluation import Evaluation
    from edge_sdk.training.checkpoint import EpochMetrics
    from edge_sdk.training.checkpoint import Progress as Position

PIPE_COLUMNS = 400
"""How wide a table may be where no terminal limits it: folded cells would be hard to search in a file."""

json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def print_json(value: Any) -> None:
    """Print a value as one JSON document on stdout, in ASCII, which every terminal and pipe carries.

    JSON has no infinite or undefined numbers: they are null.
    """
    click.echo(json.dumps(_representable(value), indent=2, allow_nan=False))


def _representable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _representable(one) for key, one in value.items()}
    return [_representable(one) for one in value] if isinstance(value, list | tuple) else value


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, names: int = 1, compact: bool = False
) -> None:
    """Print a table on stdout; numbers are right-aligned by being all but the first `names` columns.

    A `compact` one has no lines between its columns, for tables of many.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Labels and paths are Text, since rich reads square brackets in a plain string as markup.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False) if compact else Table()
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < names else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    is_bounded = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if is_bounded else PIPE_COLUMNS)
    with console.capture() as rendered:
        console.print(table)
    click.echo(title)  # not as the table's own, which would be broken to the width of the terminal
    click.echo(rendered.get(), nl=False)


def check_not_itself(out: Path, model: Path) -> None:
    """Refuse to write over the file that is read; raises UsageError."""
    read = model / "best.edge" if model.is_dir() else model
    if out.exists() and read.exists() and out.samefile(read):
        raise UsageError(f"{out}: is the model that is read; give the file to write another name")


def check_exported(file: Path, command: str) -> None:
    """Refuse a model that was not exported yet, and other files that are for no mobile runtime; raises UsageError."""
    if file.is_dir() or file.suffix in (".edge", ".onnx"):
        hint = "" if file.suffix in (".onnx", ".mlpackage") else f"; edge export {file} --out model.tflite writes one"
        raise UsageError(f"{file}: edge {command} takes an exported .tflite file{hint}")


def note(message: str) -> None:
    """Print a remark on stderr, so that stdout stays clean."""
    click.echo(message, err=True)


def percent(share: float | None) -> str:
    """A share as a percentage with two decimals, or a dash."""
    return "–" if share is None else f"{100 * share:.2f} %"


def size(count: int) -> str:
    """Bytes in the unit that suits them."""
    return f"{count / 1e6:.2f} MB" if count >= 1_000_000 else f"{count / 1e3:.1f} kB"


def amount(count: int) -> str:
    """A number of things with three or more digits and the unit that suits it."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return str(count)


def print_evaluation(name: str, evaluation: Evaluation) -> None:
    """Print accuracies, overall and per class (the 20 worst when there are more)."""
    worst = sorted(evaluation.per_class, key=lambda c: (c.accuracy, c.label))
    shown = [c for c in (evaluation.per_class if len(worst) <= 20 else worst) if c.count][:20]
    rows = [(c.label, str(c.count), percent(c.accuracy)) for c in shown]
    print_table(
        name, ("class", "photos", "accuracy"), [*rows, ("all", str(evaluation.count), percent(evaluation.top1))]
    )
    if len(evaluation.labels) > 5:
        click.echo(f"top-5 accuracy {percent(evaluation.top5)}")
    if evaluation.unreadable:
        note(f"photos that could not be read: {len(evaluation.unreadable)}, among them {evaluation.unreadable[0]}")


class TrainingDisplay:
    """A progress bar an epoch and a line an epoch, on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
            console=self._console,
        )
        self._task: TaskID | None = None
        self._features: TaskID | None = None
        self._epochs = self._batches = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None or self._features is not None:  # a bar that never started would print an empty line
            self._bar.stop()

    def on_note(self, message: str) -> None:
        """Print a line above the bar."""
        from rich.text import Text

        self._console.print(Text(message), soft_wrap=True)

    def on_features(self, done: int, total: int) -> None:
        """Show how far the frozen part of the network is computed, in a bar of its own."""
        if self._features is None:
            self._bar.start()
            self._features = self._bar.add_task("features", total=total, loss="")
        self._bar.update(self._features, completed=done)

    def on_start(self, epochs: int, batches: int, progress: Position) -> None:
        """Show the bar of the first epoch."""
        self._epochs, self._batches = epochs, batches
        self._bar.start()
        self._task = self._bar.add_task(self._title(progress.epoch), total=batches, completed=progress.batch, loss="")

    def on_batch(self, epoch: int, batch: int, loss: float) -> None:
        """Advance the bar."""
        if self._task is not None:
            self._bar.update(self._task, description=self._title(epoch), completed=batch, loss=f"loss {loss:.3f}")

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Print the epoch's figures above the bar."""
        self._console.print(
            f"epoch {metrics.epoch + 1}/{self._epochs}: loss {metrics.loss:.4f}, "
            f"training accuracy {percent(metrics.train_accuracy)}, validation {percent(metrics.validation_accuracy)}"
        )
        if metrics.epoch + 1 == self._epochs:
            self._bar.stop()

    def on_unreadable(self, photo: Unreadable) -> None:
        """Name the photo that is left out."""
        from rich.text import Text

        reason = photo.reason if photo.name in photo.reason else f"{photo.name}: {photo.reason}"
        self._console.print(Text.assemble(("left out", "yellow"), f" {reason}"), soft_wrap=True)

    def _title(self, epoch: int) -> str:
        return f"epoch {min(epoch + 1, self._epochs)}/{self._epochs}"
