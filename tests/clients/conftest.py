"""What all clients share: the files, exported once, and a folder for their environments."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from clients.environments import python_with, run
from clients.exported_files import ExportedFile, export_files
from source_tree import lay_out


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> dict[str, ExportedFile]:
    """Every file under its name."""
    return export_files(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def environments() -> Iterator[Path]:
    """The folder that environments are made in: $EDGE_CLIENTS, or one that is gone after the tests."""
    if os.environ.get("EDGE_CLIENTS"):
        yield Path(os.environ["EDGE_CLIENTS"]).absolute()
        return
    with TemporaryDirectory(prefix="edge-clients-") as folder:
        yield Path(folder)


OLD_RUNTIME = [
    "tflite-runtime==2.14.0", "numpy<2",
    "numba", "click", "rich", "pillow", "safetensors", "flatbuffers", "platformdirs",
]  # fmt: skip


@pytest.fixture(scope="session")
def old_python(environments, tmp_path_factory) -> Path:
    """The interpreter of an environment with tflite-runtime 2.14 and the SDK's other dependencies."""
    python = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
    if python is None:
        pytest.skip("tflite-runtime 2.14 has wheels for Python 3.11 and older; there is no python3.11 here")
    inside = python_with(environments / "tflite-runtime", OLD_RUNTIME, python)
    # The SDK is found by a path file, as an installation would be, and ai-edge-litert is not there.
    found = run(inside, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    sources = lay_out(tmp_path_factory.mktemp("old") / "sources")
    (Path(found) / "edge_sdk.pth").write_text(f"{sources}\n", encoding="utf-8")
    return inside
