"""One batch of edge-sdk's inference each time: MODEL BATCH PRECISION, none (float32) or int8."""

from __future__ import annotations

import sys

import numpy as np
from serve import serve

from edge_sdk import __version__, pretrained
from edge_sdk.quantization.post_training import quantize

CALIBRATION = 8  # photos; the speed does not depend on them


def main() -> None:
    """Bind the model on random photos, then serve."""
    name, batch, precision = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    model = pretrained.load(name, weights=None)
    random = np.random.default_rng(0)
    if precision == "int8":
        quantized = quantize(model, random.integers(0, 256, (CALIBRATION, *model.preprocess.shape), np.uint8))
        pixels = random.integers(0, 256, (batch, *model.preprocess.shape), np.uint8)
        serve(lambda: quantized.run(pixels), {"edge_sdk": __version__})
    else:
        image = random.standard_normal((batch, *model.preprocess.shape), np.float32)
        serve(lambda: model.run(image), {"edge_sdk": __version__})


if __name__ == "__main__":
    main()
