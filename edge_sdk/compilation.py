"""What is known of the compilation of kernels: who is told while it goes on, and what it came to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

LOGGER = logging.getLogger("edge_sdk.kernels")
"""Says once, as a warning, that kernels are being compiled; `logging.getLogger("edge_sdk").setLevel(…)` silences it."""


@dataclass(frozen=True)
class Compilation:
    """Functions this process compiled and loaded so far; seconds from the first to the last; the newest's name."""

    compiled: int = 0
    loaded: int = 0
    seconds: float = 0.0
    newest: str = ""
    folder: Path | None = None
    """Where compiled code is kept."""


@dataclass
class _State:
    known: Compilation = field(default_factory=Compilation)
    started: float | None = None
    listeners: list[Callable[[Compilation], None]] = field(default_factory=list)


_state = _State()


def compilation() -> Compilation:
    """Return what was compiled and loaded so far."""
    return _state.known


@contextmanager
def listening(listener: Callable[[Compilation], None]) -> Generator[None, None, None]:
    """Tell `listener` of every function before it is compiled, and after; nothing is logged meanwhile."""
    _state.listeners.append(listener)
    try:
        yield
    finally:
        _state.listeners.remove(listener)


def folder_is(folder: Path) -> None:
    """Note where compiled code is kept."""
    _state.known = replace(_state.known, folder=folder)


def function_loaded() -> None:
    """Count a function that was taken from the folder."""
    _state.known = replace(_state.known, loaded=_state.known.loaded + 1)


def compiling(name: str) -> None:
    """Note that a function is going to be compiled."""
    if _state.started is None:
        _state.started = time.monotonic()
        if not _state.listeners:
            LOGGER.warning(
                "compiling kernels, once for this machine; it may take a minute or two (`edge warmup` does it ahead)"
            )
    _tell(name, _state.known.compiled)


def compiled(name: str) -> None:
    """Count a function that was compiled."""
    _tell(name, _state.known.compiled + 1)


def _tell(name: str, count: int) -> None:
    seconds = 0.0 if _state.started is None else time.monotonic() - _state.started
    _state.known = replace(_state.known, compiled=count, seconds=seconds, newest=name)
    for listener in tuple(_state.listeners):
        listener(_state.known)
