"""The exceptions a user can meet. Each message names the thing, what was wanted, what was found and the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgeError(Exception):
    """Base of every error that is about the caller's input and not about a defect of the SDK."""


class ShapeError(EdgeError, ValueError):
    """Values whose shapes or dtypes an operator cannot accept."""


class GraphError(EdgeError, ValueError):
    """A graph that is not well formed, or that cannot do what was asked of it."""


class FormatError(EdgeError, ValueError):
    """A file whose content is truncated, corrupt, hostile or of a newer format."""


class DataError(EdgeError, ValueError):
    """Photos, labels or folders that cannot be trained or evaluated on."""


class ExportError(EdgeError, RuntimeError):
    """A model that cannot be written in the wanted format, or whose file failed its proof."""


class UsageError(EdgeError, ValueError):
    """Arguments that do not fit together."""


class DeviceError(EdgeError, RuntimeError):
    """A device that is not here, or that cannot do what was asked of it."""


class MissingExtraError(EdgeError, ImportError):
    """An optional package that the wanted function needs is not installed."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
