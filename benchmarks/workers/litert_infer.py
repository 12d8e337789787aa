"""One batch of LiteRT's inference each time: MODEL BATCH PRECISION, on the file that edge-sdk exports."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from serve import serve

from edge_sdk import pretrained
from edge_sdk.converters.tflite.export import export

CALIBRATION = 8  # photos; the speed does not depend on them


def main() -> None:
    """Export, open, resize to the batch, then serve."""
    name, batch, precision = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    model = pretrained.load(name, weights=None)
    random = np.random.default_rng(0)
    photos = random.integers(0, 256, (max(batch, CALIBRATION), *model.preprocess.shape), np.uint8)
    image = random.standard_normal((batch, *model.preprocess.shape), np.float32)
    image = photos[:batch] if precision == "int8" else image
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        export(model, path, quantize=precision, calibrate=photos if precision == "int8" else None)
        interpreter = Interpreter(str(path), num_threads=int(os.environ["OMP_NUM_THREADS"]))
    given = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(given["index"], image.shape)
    interpreter.allocate_tensors()

    def work() -> None:
        interpreter.set_tensor(given["index"], image)
        interpreter.invoke()

    serve(work, {"ai-edge-litert": version("ai-edge-litert")})


if __name__ == "__main__":
    main()
