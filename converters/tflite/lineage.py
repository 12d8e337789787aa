"""Of which model a file was made, and how: hashes, versions, seeds and the photos it was calibrated on."""

from __future__ import annotations

import hashlib
from typing import Any

from edge_sdk import __version__
from edge_sdk.data.source import PhotoSource, open_photos, spread
from edge_sdk.edge_file import digest
from edge_sdk.model import Model
from edge_sdk.serialize import graph_to_json


def lineage(model: Model, precision: str, photos: PhotoSource | None, most: int) -> dict[str, Any]:
    """Return where a file comes from, as JSON-ready values.

    `model_sha256` is the digest that the model's .edge file states. `photos` are those of the calibration, of which at
    most `most` are looked at; their hash changes when the photos, their order or their labels do.
    """
    calibration = None
    if photos is not None:
        chosen = spread(open_photos(photos, model.labels), most)
        calibration = {"photos": len(chosen), "sha256": chosen.fingerprint()}
    return {
        "sdk": __version__,
        "model_sha256": digest(model),
        "graph_sha256": hashlib.sha256(graph_to_json(model.graph).encode()).hexdigest(),
        "weights_sha256": model.workspace.restricted(model.graph).digest(),
        "precision": precision,
        "calibration": calibration,
        "seed": model.provenance.get("seed"),
    }
