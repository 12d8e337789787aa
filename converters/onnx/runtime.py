"""An .onnx file where apps run it: in ONNX Runtime, or in ONNX's reference evaluator where that is not installed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.converters.onnx.proto import onnx_package, parse_model
from edge_sdk.converters.onnx.write_model import stated
from edge_sdk.converters.onnx.writing import ImageLayout
from edge_sdk.errors import FormatError, ShapeError, UsageError
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import Array


def has_onnx_runtime() -> bool:
    """Tell whether the package onnxruntime is installed."""
    try:
        import onnxruntime  # noqa: F401 - whether it is there
    except ImportError:
        return False
    return True


class ONNXModel:
    """A classifier's file that the SDK wrote, opened in its runtime.

    Attributes:
        labels: Names of the outputs.
        preprocess: How a photo becomes the input.
        runtime: What runs it, with its version.
        input: Its input as text, such as float32['batch', 3, 224, 224].
        output: Its output as text.
    """

    def __init__(self, path: Path | str, image_layout: ImageLayout = "nchw", threads: int | None = None) -> None:
        """Open a file; `threads` compute, or as many as the runtime chooses.

        Raises:
            FormatError: the file is damaged, or was not written by the SDK, or the runtime refuses it.
        """
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be 1 or more, got {threads}")
        self.path, self._layout = Path(path), image_layout
        model = parse_model(self.path)
        about = stated(model)
        if about is None:
            raise FormatError(f"{path}: does not say how it is fed; wanted a file that edge export wrote")
        self.labels: tuple[str, ...] = about.labels
        self.preprocess: Preprocess = about.preprocess
        (source,), (target,) = model.graph.input, model.graph.output
        self._names = source.name, target.name
        self.input, self.output = _described(source), _described(target)
        self._dtype = self.input.partition("[")[0]
        self._quant = _output_quantization(model)
        with _runtime_errors(str(path)):
            self.runtime, self._run = _session(self.path, threads)

    def run(self, x: Array) -> Array:
        """Return scores (n, classes), float32, of preprocessed float32 images (n, h, w, c)."""
        if x.ndim != 4 or x.shape[1:] != self.preprocess.shape:
            raise ShapeError(
                f"{self.path}: run takes images (n, {self.preprocess.shape}), got {x.dtype}{list(x.shape)}"
            )
        if self._dtype == "uint8":
            rule = self.preprocess
            pixels = np.rint(x * np.asarray(rule.std, np.float32) + np.asarray(rule.mean, np.float32))
            x = np.asarray(np.clip(pixels, 0, 255), np.uint8)
        fed = np.ascontiguousarray(x.transpose(0, 3, 1, 2) if self._layout == "nchw" else x)
        with _runtime_errors(str(self.path)):
            result = np.asarray(self._run([self._names[1]], {self._names[0]: fed})[0])
        if self._quant is None:
            return result.astype(np.float32)
        scale, zero = self._quant
        return np.asarray((result.astype(np.float32) - np.float32(zero)) * np.float32(scale), np.float32)

    def latency(self, runs: int) -> list[float]:
        """Return the seconds that each of `runs` photos took, after one other."""
        x, seconds = np.zeros((1, *self.preprocess.shape), np.float32), []
        for _ in range(runs + 1):
            start = time.perf_counter()
            self.run(x)
            seconds.append(time.perf_counter() - start)
        return seconds[1:]

    def close(self) -> None:
        """Let go of the file, which some systems do not let be renamed before."""
        self._run = _closed


def _closed(*_arguments: Any) -> Any:
    raise UsageError("the file was closed")


def _session(path: Path, threads: int | None) -> tuple[str, Any]:
    if has_onnx_runtime():
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return f"onnxruntime {onnxruntime.__version__}", session.run
    onnx = onnx_package()
    from onnx.reference import ReferenceEvaluator

    return f"onnx.reference {onnx.__version__}", ReferenceEvaluator(str(path)).run


def _described(info: Any) -> str:
    helper = onnx_package().helper
    kind = info.type.tensor_type
    sizes: list[int | str] = [dim.dim_param or int(dim.dim_value) for dim in kind.shape.dim]
    return f"{helper.tensor_dtype_to_np_dtype(kind.elem_type).name}{sizes}"


def _output_quantization(model: Any) -> tuple[float, int] | None:
    """Scale and zero point of an output that is stored as integers."""
    onnx = onnx_package()
    last = [node for node in model.graph.node if model.graph.output[0].name in node.output]
    if not last or last[0].op_type != "QuantizeLinear":
        return None
    stored: Mapping[str, Any] = {tensor.name: tensor for tensor in model.graph.initializer}
    scale, zero = (onnx.numpy_helper.to_array(stored[name]) for name in last[0].input[1:3])
    return float(scale), int(zero)


@contextmanager
def _runtime_errors(name: str) -> Iterator[None]:
    """Turn what the runtime raises, of classes of its own, into a FormatError that names the file."""
    try:
        yield
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"{name}: the runtime cannot run it: {str(error).strip()[:500]}") from error
