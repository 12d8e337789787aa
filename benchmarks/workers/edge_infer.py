"""One batch of edge-sdk's inference each time: MODEL BATCH."""

from __future__ import annotations

import sys

import numpy as np
from serve import serve

from edge_sdk import __version__, pretrained


def main() -> None:
    """Bind the model on random photos, then serve."""
    name, batch = sys.argv[1], int(sys.argv[2])
    model = pretrained.load(name, weights=None)
    image = np.random.default_rng(0).standard_normal((batch, *model.preprocess.size, 3), np.float32)
    serve(lambda: model.run(image), {"edge_sdk": __version__})


if __name__ == "__main__":
    main()
