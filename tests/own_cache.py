"""A cache folder of a test's own: empty but for the compiled kernels, which would take minutes to make again."""

from __future__ import annotations

from pathlib import Path

from edge_sdk.cache_folder import cache_folder


def own_cache(folder: Path) -> Path:
    """Make a folder for $EDGE_CACHE in which the kernels are those of the folder it replaces."""
    kernels = cache_folder("kernels")
    kernels.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernels").symlink_to(kernels, target_is_directory=True)
    return folder
