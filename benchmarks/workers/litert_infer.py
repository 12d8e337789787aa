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


def main() -> None:
    """Export, open, resize to the batch, then serve."""
    name, batch, precision = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    model = pretrained.load(name, weights=None)
    image = np.random.default_rng(0).standard_normal((batch, *model.preprocess.size, 3), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        export(model, path, quantize=precision)
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
