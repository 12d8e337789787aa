"""One batch of ONNX Runtime's inference each time: MODEL BATCH; needs torch, torchvision, onnx and onnxruntime."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from serve import serve
from torchvision_models import VERSIONS, build


def main() -> None:
    """Export torchvision's network, load it with all optimizations, then serve."""
    name, batch = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            build(name).eval(), (torch.randn(batch, 3, 224, 224),), str(path), input_names=["image"], dynamo=False
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), np.float32)
    serve(lambda: session.run(None, {"image": image}), {"onnxruntime": onnxruntime.__version__, **VERSIONS})


if __name__ == "__main__":
    main()
