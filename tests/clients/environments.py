"""Environments of their own for clients that the SDK does not depend on.

They lie in a temporary folder, or in the folder that EDGE_CLIENTS names, where the next run finds them again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

MISSING = ("No matching distribution", "E404", "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "Could not fetch URL")
"""What pip and npm say when there is no such package for this machine, or no package index."""


def run(*arguments: object, cwd: Path | None = None, environment: dict[str, str] | None = None):
    """Run a program to its end and return what it printed; it has 15 minutes."""
    return subprocess.run(
        [str(argument) for argument in arguments],
        capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=900, check=False,
        cwd=cwd, env=environment,
    )  # fmt: skip


def python_with(folder: Path, requirements: list[str], python: str = sys.executable) -> Path:
    """Return the interpreter of an environment with these packages, made where it is not there yet."""
    inside = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    finished = folder / "requirements.txt"
    if finished.is_file() and finished.read_text("utf-8").split("\n") == requirements:
        return inside
    made = run(python, "-m", "venv", "--clear", folder)
    assert made.returncode == 0, made.stderr
    installed = run(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
    _skip_if_missing(installed)
    finished.write_text("\n".join(requirements), encoding="utf-8")
    return inside


def npm_packages(folder: Path, packages: list[str]) -> Path:
    """Return a folder with npm packages unpacked as node_modules has them; nothing of them is run."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here: apt-get install npm")
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        name, _, version = package.rpartition("@")
        target = folder / name
        found = target / "package.json"
        if found.is_file() and json.loads(found.read_text("utf-8"))["version"] == version:
            continue
        packed = run("npm", "pack", "--silent", package, cwd=folder)
        _skip_if_missing(packed)
        with tarfile.open(folder / packed.stdout.split()[-1]) as archive, TemporaryDirectory(dir=folder) as unpacked:
            archive.extractall(unpacked, filter="data")
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            shutil.move(Path(unpacked) / "package", target)
    return folder


def run_client(python: Path, program: Path, *arguments: object) -> None:
    """Run a client's program; where a shared library of the system is missing, the test is skipped with its name."""
    done = run(python, program, *arguments)
    missing = [line for line in done.stderr.splitlines() if "cannot open shared object file" in line]
    if done.returncode and missing:
        pytest.skip(f"a library of the system is missing: {missing[-1].strip()}")
    assert done.returncode == 0, done.stderr


def _skip_if_missing(done: subprocess.CompletedProcess[str]) -> None:
    reasons = [line for line in done.stderr.splitlines() if any(sign in line for sign in MISSING)]
    if done.returncode and reasons:
        pytest.skip(f"the package index has no such package: {reasons[-1].strip()}")
    assert done.returncode == 0, done.stderr
