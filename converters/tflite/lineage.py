"""Of which model a file was made, and how: hashes, versions, seeds, and the photos that decided and judged."""

from __future__ import annotations

import hashlib
from typing import Any

from edge_sdk import __version__
from edge_sdk.data.dataset import Dataset
from edge_sdk.data.source import PhotoSource
from edge_sdk.edge_file import digest
from edge_sdk.model import Model
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.serialize import graph_to_json


def lineage(
    model: Model, precision: str, calibrate: PhotoSource | None, check: Dataset | None, *, climbs: bool
) -> dict[str, Any]:
    """Return where a file comes from, as JSON-ready values.

    `model_sha256` is the digest that the model's .edge file states. `calibration` are the photos that decided scales,
    of `calibrate`; where the export `climbs` the ladder, `judging` are further ones by which it chose what to build
    upon, unless it set some of the others aside for that. `check` are the photos that the finished file was measured
    on. Each hash changes when the photos, their order or their labels do.
    """
    calibration = None
    if calibrate is not None:
        images = CalibrationImages.of(calibrate, model.labels, model.preprocess)
        calibration = _photos(images.dataset)
        _, judging = images.set_aside()
        if climbs and judging.dataset is not images.dataset:
            calibration["judging"] = _photos(judging.dataset)
    return {
        "sdk": __version__,
        "model_sha256": digest(model),
        "graph_sha256": hashlib.sha256(graph_to_json(model.graph).encode()).hexdigest(),
        "weights_sha256": model.workspace.restricted(model.graph).digest(),
        "precision": precision,
        "calibration": calibration,
        "check": None if check is None else _photos(check),
        "seed": model.provenance.get("seed"),
    }


def _photos(dataset: Dataset) -> dict[str, Any]:
    return {"photos": len(dataset), "sha256": dataset.fingerprint()}
