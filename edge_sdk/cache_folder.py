"""Where what can be made or fetched again is kept: weights, features, measured times, compiled kernels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

CACHE = "EDGE_CACHE"
"""The environment variable that moves all of it."""


def cache_folder(kind: Literal["weights", "features", "tuning", "kernels"]) -> Path:
    """Return the folder of one kind: in $EDGE_CACHE where that is set, else in the user's cache folder.

    Weights lie in $EDGE_CACHE itself, everything else in a folder of its kind below it. Nothing is created here.
    """
    chosen = os.environ.get(CACHE)
    if chosen:
        return Path(chosen) if kind == "weights" else Path(chosen) / kind
    import platformdirs

    return Path(platformdirs.user_cache_dir("edge-sdk", appauthor=False)) / kind
