"""One training step of edge-sdk each time: MODEL BATCH [PRECISION [RECOMPUTE]]."""

from __future__ import annotations

import sys

import numpy as np
from serve import serve

from edge_sdk import __version__, pretrained
from edge_sdk.training.step import Recompute, training_session

KINDS: dict[str, Recompute] = {"auto": "auto", "activations": "activations", "none": None}


def main() -> None:
    """Bind the step on random photos, then serve."""
    name, batch = sys.argv[1], int(sys.argv[2])
    model = pretrained.load(name, weights=None, num_classes=10)
    precision = sys.argv[3] if len(sys.argv) > 3 else "float32"
    recompute: Recompute = KINDS[sys.argv[4]] if len(sys.argv) > 4 else "auto"
    session = training_session(model, batch, learning_rate=1e-3, precision=precision, recompute=recompute)
    rng = np.random.default_rng(0)
    feeds = {
        "image": rng.standard_normal((batch, *model.preprocess.size, 3), np.float32),
        "label": rng.integers(0, 10, batch).astype(np.int32),
    }
    del model  # training goes on with weights of its own
    serve(lambda: session.run(feeds), {"edge_sdk": __version__})


if __name__ == "__main__":
    main()
