"""What all clients share: the files, exported once, and a folder for their environments."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from clients.exported_files import ExportedFile, export_files


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
