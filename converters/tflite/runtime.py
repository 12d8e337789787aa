"""Run a .tflite file in the mobile runtime: the one place that knows which of its Python packages is installed."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from edge_sdk.converters.tflite.metadata import FileMetadata, read_metadata
from edge_sdk.converters.tflite.model_check import check_model
from edge_sdk.errors import EdgeError, FormatError, MissingExtraError, ShapeError, UsageError
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.profile import DEFAULT, Profile, checked_profile
from edge_sdk.spec import BATCH, Array, QuantParams

if TYPE_CHECKING:
    from edge_sdk.data.images import Photo
    from edge_sdk.model import Ranking

RUNTIMES = ("ai_edge_litert", "tflite_runtime")
"""Packages with the same Interpreter, newest first."""

RESOLVERS: Mapping[Profile, str] = {
    "reference": "BUILTIN_REF",
    "litert": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "xnnpack": "AUTO",
}
"""The runtime's name for each of its sets of kernels."""


def load_runtime() -> tuple[str, Any]:
    """Return the installed package's name and its `interpreter` module; raises MissingExtraError when there is none."""
    for package in RUNTIMES:
        try:
            return package, importlib.import_module(f"{package}.interpreter")
        except ImportError:
            continue
    raise MissingExtraError(
        "no TFLite runtime is installed: pip install ai-edge-litert (or, on Python 3.11 with NumPy 1, "
        "pip install 'edge-sdk[tflite-runtime]')"
    )


def runtime_version(package: str) -> str:
    """Return a package of `RUNTIMES` with its version and the processor it runs on: "ai_edge_litert 2.3.0, x86_64"."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version(package.replace("_", "-"))
    except PackageNotFoundError:
        number = "of unknown version"
    return f"{package} {number}, {platform.machine()}"


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a file; a first size of -1 is the open batch."""

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: str
    quant: QuantParams | None


class TFLiteModel:
    """A classifier in the runtime. Calls from several threads take turns.

    Attributes:
        inputs: The file's inputs.
        outputs: The file's outputs; `run` returns the first.
        metadata: What the file says about itself.
        entries: Its metadata entries as they are stored, by name.
        runtime: The package that runs it.
    """

    def __init__(
        self, data: bytes, name: str = "model.tflite", threads: int | None = None, profile: Profile = DEFAULT
    ) -> None:
        """Open a file's bytes.

        Args:
            data: The whole file.
            name: What messages call it.
            threads: Number of threads, or None for the runtime's choice.
            profile: Which of its sets of kernels the runtime takes.

        Raises:
            FormatError: the bytes are not a file that the runtime can run.
            MissingExtraError: no runtime is installed.
        """
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be 1 or more, got {threads}")
        self.name = name
        checked = check_model(data, name)
        self.entries = checked.metadata
        self.metadata: FileMetadata = read_metadata(checked.metadata, data, name)
        self.runtime, module = load_runtime()
        self._turn = threading.Lock()
        with _runtime_errors(name):
            resolver = module.OpResolverType[RESOLVERS[checked_profile(profile)]]
            self._interpreter = module.Interpreter(
                model_content=data, num_threads=threads, experimental_op_resolver_type=resolver
            )
            self._interpreter.allocate_tensors()
            self.inputs = tuple(_tensor_info(details) for details in self._interpreter.get_input_details())
            self.outputs = tuple(_tensor_info(details) for details in self._interpreter.get_output_details())
        if not self.outputs:
            raise FormatError(f"{name}: computes no output")
        self._batch = max(1, self.inputs[0].shape[0]) if self._has_batch else 1

    @classmethod
    def open(cls, path: Path | str, threads: int | None = None) -> TFLiteModel:
        """Open a file; raises FormatError when it is missing, damaged or cannot be run."""
        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
        return cls(data, str(path), threads)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the outputs; their numbers as text where the file has none."""
        classes = self.outputs[0].shape[-1] if self.outputs[0].shape else 1
        return self.metadata.labels or tuple(str(index) for index in range(classes))

    @property
    def preprocess(self) -> Preprocess:
        """How a photo becomes the input; a file of other makers has a mean and a deviation, the rest are defaults."""
        if self.metadata.preprocess is not None:
            return self.metadata.preprocess
        shape = self.inputs[0].shape
        if len(shape) != 4 or shape[3] not in (1, 3):
            raise FormatError(f"{self.name}: its input has shape {list(shape)}, not that of photos (n, h, w, 1 or 3)")
        channels = shape[3]
        return Preprocess(
            size=(shape[1], shape[2]),
            mean=_per_channel(self.metadata.mean or (0.0,), channels),
            std=_per_channel(self.metadata.std or (1.0,), channels),
            channels="grey" if channels == 1 else "rgb",
        )

    def run(self, x: Array) -> Array:
        """Return the first output (n, …) as float32, dequantized when it is stored as integers.

        `x` is float32 (n, h, w, c), preprocessed. For a file that takes uint8 pixels the normalisation is undone, which
        is exact for what `preprocess` makes; uint8 pixels, of the same channel order, are passed on as they are.

        Raises:
            ShapeError: x does not fit the input.
            FormatError: the runtime fails.
        """
        if len(self.inputs) != 1:
            raise FormatError(f"{self.name}: has {len(self.inputs)} inputs, a classifier has one; use invoke()")
        wanted = self.inputs[0]
        if x.ndim != len(wanted.shape) or x.shape[1:] != wanted.shape[1:]:
            raise ShapeError(f"{self.name}: run takes {wanted.dtype}{list(wanted.shape)}, got {x.dtype}{list(x.shape)}")
        if not len(x):
            return np.zeros((0, *self.outputs[0].shape[1:]), np.float32)
        outputs = self.invoke({wanted.name: self._as_stored(x)})
        return dequantize(outputs[self.outputs[0].name], self.outputs[0].quant)

    def invoke(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the file on arrays of its inputs' own dtypes, by name, and return its outputs as they are stored.

        The first axis of the only input is the batch: it may have any size where the file leaves it open, and is cut
        into pieces of the file's batch, the last filled up with zeros, where it does not.
        """
        with self._turn, _runtime_errors(self.name):
            x = next(iter(feeds.values()), None)
            if x is None or len(self.inputs) > 1 or not self._has_batch:
                return self._invoke_once(feeds)
            if self.inputs[0].shape[0] == BATCH:
                self._resize(len(x))
            elif len(x) != self.inputs[0].shape[0]:
                return self._invoke_in_pieces(x)
            return self._invoke_once(feeds)

    @overload
    def predict(self, photo: Photo, top: int = 5) -> Ranking: ...  # type: ignore[overload-overlap] # a text is no list
    @overload
    def predict(self, photo: Sequence[Photo], top: int = 5) -> list[Ranking]: ...
    def predict(self, photo: Photo | Sequence[Photo], top: int = 5) -> Ranking | list[Ranking]:
        """Return the `top` most probable (label, probability) pairs, best first; a list of photos gives a list."""
        from edge_sdk.model import rank

        if isinstance(photo, list | tuple):
            return [self.predict(cast("Photo", one), top) for one in photo]
        scores = self.run(self.preprocess(cast("Photo", photo))[np.newaxis])[0]
        if scores.shape != (len(self.labels),):
            raise FormatError(
                f"{self.name}: gives scores of shape {list(scores.shape)}, but has {len(self.labels)} labels"
            )
        return rank(self._probabilities(scores), self.labels, top)

    def _probabilities(self, scores: Array) -> Array:
        """Scores as probabilities: as the file's contract says what they are, else as they look."""
        from edge_sdk.model import probabilities, softmax

        output = self.metadata.contract.get("output")
        said = output.get("values") if isinstance(output, dict) else None
        if said == "logits":
            return softmax(scores)
        return scores if said == "probabilities" else probabilities(scores)

    def latency(self, runs: int = 20, warmup: int = 3) -> list[float]:
        """Return the seconds that each of `runs` invocations on one example took, after `warmup` others."""
        if runs < 1 or warmup < 0:
            raise UsageError(f"latency needs 1 run or more and 0 or more before, got {runs} and {warmup}")
        seconds = []
        with self._turn, _runtime_errors(self.name):
            if self._has_batch and self.inputs[0].shape[0] == BATCH:
                self._resize(1)
            for info in self.inputs:
                shape = tuple(max(1, size) for size in info.shape)
                self._interpreter.set_tensor(info.index, np.zeros(shape, info.dtype))
            for _ in range(warmup + runs):
                start = time.perf_counter()
                self._interpreter.invoke()
                seconds.append(time.perf_counter() - start)
        return seconds[warmup:]

    @property
    def _has_batch(self) -> bool:
        return bool(self.inputs) and bool(self.inputs[0].shape)

    def _as_stored(self, x: Array) -> Array:
        wanted = self.inputs[0]
        if x.dtype.name == wanted.dtype:
            return x
        if wanted.dtype == "uint8" and x.dtype.kind == "f":
            rule = self.preprocess
            pixels = np.rint(x * np.asarray(rule.std, np.float32) + np.asarray(rule.mean, np.float32))
            return np.asarray(np.clip(pixels, 0, 255), np.uint8)
        if wanted.quant is not None and x.dtype.kind == "f":
            limits = np.iinfo(wanted.dtype)
            stored = np.rint(x / wanted.quant.scale[0]) + wanted.quant.zero_point[0]
            return np.asarray(np.clip(stored, limits.min, limits.max), wanted.dtype)
        if wanted.dtype == "float32" and x.dtype.kind == "f":
            return x.astype(np.float32)
        raise ShapeError(
            f"{self.name}: run takes {wanted.dtype}{list(wanted.shape)}, got {x.dtype}; preprocess it first"
        )

    def _resize(self, batch: int) -> None:
        if batch != self._batch:
            info = self.inputs[0]
            self._interpreter.resize_tensor_input(info.index, (batch, *info.shape[1:]), strict=True)
            self._interpreter.allocate_tensors()
            self._batch = batch

    def _invoke_once(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        for info in self.inputs:
            if info.name not in feeds:
                raise UsageError(f"{self.name}: no array for its input {info.name!r}; given are {', '.join(feeds)}")
            self._interpreter.set_tensor(info.index, np.asarray(feeds[info.name], order="C"))
        self._interpreter.invoke()
        return {info.name: self._interpreter.get_tensor(info.index) for info in self.outputs}

    def _invoke_in_pieces(self, x: Array) -> dict[str, Array]:
        info, size = self.inputs[0], self.inputs[0].shape[0]
        pieces: dict[str, list[Array]] = {output.name: [] for output in self.outputs}
        for start in range(0, len(x), size):
            piece = x[start : start + size]
            filled = np.zeros(info.shape, info.dtype)
            filled[: len(piece)] = piece
            for name, y in self._invoke_once({info.name: filled}).items():
                pieces[name].append(y[: len(piece)])
        return {name: np.concatenate(parts) for name, parts in pieces.items()}


def dequantize(stored: Array, quant: QuantParams | None) -> Array:
    """Return float32 scale · (stored - zero_point) of a tensor quantized as a whole; floats as float32."""
    if quant is None:
        return np.asarray(stored, np.float32)
    real = (stored.astype(np.float32) - np.float32(quant.zero_point[0])) * np.float32(quant.scale[0])
    return np.asarray(real, np.float32)


def _tensor_info(details: Mapping[str, Any]) -> TensorInfo:
    signature = details.get("shape_signature", details["shape"])
    shape = signature if len(signature) else details["shape"]
    parameters = details["quantization_parameters"]
    quant = None
    if len(parameters["scales"]) == 1:
        quant = QuantParams((float(parameters["scales"][0]),), (int(parameters["zero_points"][0]),))
    sizes = tuple(int(size) for size in shape)
    return TensorInfo(str(details["name"]), int(details["index"]), sizes, np.dtype(details["dtype"]).name, quant)


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values if len(values) == channels else values[:1] * channels


@contextmanager
def _runtime_errors(name: str) -> Iterator[None]:
    """Turn what the runtime raises, which is plain ValueError and RuntimeError, into a FormatError naming the file."""
    try:
        yield
    except EdgeError:
        raise
    except (ValueError, RuntimeError, TypeError, MemoryError, OverflowError, IndexError) as error:
        raise FormatError(f"{name}: the runtime cannot run it: {str(error).strip() or type(error).__name__}") from error
