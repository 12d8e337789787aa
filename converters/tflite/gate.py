"""A .tflite file that was written, run and compared, as the gate (edge_sdk/converters/gate.py) judges it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.converters.tflite.metadata import About
from edge_sdk.converters.tflite.report import Report
from edge_sdk.converters.tflite.sidecar import write_sidecar
from edge_sdk.converters.tflite.writer import WrittenFile


@dataclass(frozen=True)
class Finished:
    """A file, what it says about itself, and how it does."""

    written: WrittenFile
    about: About
    report: Report

    def with_report(self, **changes: Any) -> Self:
        """Return the same file with other values of fields of its report."""
        return dataclasses.replace(self, report=dataclasses.replace(self.report, **changes))

    def save(self, path: Path | str, **more: Any) -> None:
        """Write the file and its side-car, whole or not at all; `more` are further keys of the report."""
        atomic_write_bytes(path, self.written.data)
        write_sidecar(path, self.written.data, self.about, {**self.report.to_dict(), **more})
