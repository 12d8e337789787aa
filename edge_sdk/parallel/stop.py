"""Whether a process that is one of several was asked to stop."""

from __future__ import annotations

from typing import Protocol


class Flag(Protocol):
    """Is set by whoever started the processes."""

    def is_set(self) -> bool:
        """Return whether it is set."""


_flag: Flag | None = None


def stop_by(flag: Flag) -> None:
    """Let this flag ask this process to stop."""
    global _flag  # noqa: PLW0603 - it is the process's own
    _flag = flag


def stop_asked() -> bool:
    """Return whether whoever started this process wants it to stop: Ctrl-C was pressed."""
    return _flag is not None and _flag.is_set()
