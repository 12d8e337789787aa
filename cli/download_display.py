"""Shows on stderr how far a download of weights is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from edge_sdk.cli.output import note

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class DownloadDisplay:
    """A bar for each download, from the first bytes that arrive; nothing where there is no download."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_wait(self) -> None:
        """Say that another process is at it."""
        note(f"another process is downloading the weights {self._name}; waiting for it")

    def on_progress(self, done: int, total: int | None) -> None:
        """Move the bar."""
        if self._bar is None or self._task is None:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.progress import TransferSpeedColumn as Speed

            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), Speed(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(f"weights {self._name}", total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total)
