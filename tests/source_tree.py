"""The sources laid out by import name, as an installation has them, and programs run from such a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGE_FOLDERS: dict[str, str] = PYPROJECT["tool"]["setuptools"]["package-dir"]


def source_files() -> dict[str, Path]:
    """Every Python file of the package, by the name it is imported by."""
    files = {}
    for package, folder in PACKAGE_FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            files[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return files


def lay_out(target: Path) -> Path:
    """Copy the sources to `target` under their import names and return it."""
    for package, folder in PACKAGE_FOLDERS.items():
        shutil.copytree(
            ROOT / folder, target.joinpath(*package.split(".")), ignore=shutil.ignore_patterns("__pycache__")
        )
    return target


def run_python(
    tree: Path, *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python with edge_sdk from `tree` alone and its dependencies from where they are installed.

    -S leaves out what site-packages runs at the start, and with it the finder of an editable installation, which would
    step in for a module that the tree lacks.
    """
    folders = [str(tree), *dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))]
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=cwd, env={**os.environ, "PYTHONPATH": os.pathsep.join(folders), **(environment or {})},
        capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
