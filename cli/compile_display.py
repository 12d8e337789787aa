"""Says on stderr that kernels are being compiled, while they are."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

import click

from edge_sdk.compilation import listening

if TYPE_CHECKING:
    from edge_sdk.compilation import Compilation

SECONDS_BETWEEN_LINES = 5.0


class CompileDisplay:
    """One line that counts on a terminal; a line every few seconds where stderr is a file, or a bar's."""

    def __init__(self) -> None:
        self._listening = listening(self.show)
        self._last = 0.0
        self._seen: Compilation | None = None

    def __enter__(self) -> Self:
        self._listening.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.__exit__(None, None, None)
        if self._seen is not None and self._seen.compiled:
            done = f"compiled {self._seen.compiled} kernels in {self._seen.seconds:.0f} s, for all later starts"
            click.echo(f"\r{done:<78}" if self._live else done, err=True)

    @property
    def _live(self) -> bool:
        terminal = sys.__stderr__
        return terminal is not None and sys.stderr is terminal and terminal.isatty()

    def show(self, known: Compilation) -> None:
        """Show how far it is."""
        self._seen = known
        line = f"compiling kernels, once: {known.compiled} in {known.seconds:.0f} s, now {known.newest}"
        if self._live:
            click.echo(f"\r{line[:78]:<78}", nl=False, err=True)
        elif not self._last or time.monotonic() - self._last > SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            click.echo(line, err=True)
