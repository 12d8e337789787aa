"""The self-test inside a file: golden photos, and the scores that the runtime gave for them when the file was written.

It is the metadata entry EDGE_SELF_TEST, not a second signature: MediaPipe and old runtimes take files of one subgraph,
and a runtime need not hold photos in memory to classify. Layout: `EST1`, the length of the JSON as 4 bytes
little-endian, the JSON, the photos' pixels (zlib), the outputs as they are stored.

Photos are uint8 pixels of the input's size. Where two of them would be too large, every d-th pixel is kept, and the
golden photo has d × d equal ones for each: pixel (y, x) of the input is the stored pixel (y // d, x // d).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sdk.errors import FormatError
from edge_sdk.spec import Array

ENTRY = "EDGE_SELF_TEST"
FORMAT_VERSION = 1
PHOTOS = 2
SMALLEST_LIMIT = 64 << 10
SHARE = 0.02
"""The entry's pixels may take this share of the file, or `SMALLEST_LIMIT` bytes, whichever is more."""

_MAGIC = b"EST1"
_LENGTH = struct.Struct("<I")
_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)
_DTYPES = ("float32", "uint8")
_MOST_PHOTOS = 64
_MOST_PIXELS = 1 << 27


@dataclass(frozen=True, eq=False)
class SelfTest:
    """Golden photos and what became of them.

    Attributes:
        pixels: The photos, uint8 (n, height, width, channels), of the input's size.
        outputs: What the runtime gave, (n, classes), as the file stores it.
        mean, std: What turns pixels into a float input, (pixel - mean) / std; 0 and 1 where it takes pixels.
        input_dtype: The input's type.
        exact: Whether every runtime that computes as the first one must give equal outputs: 8-bit files.
        tolerance: How far an output may be off, as a share of the largest one; of quantized outputs, in steps.
        limit: The same where the integer arithmetic is another one and roundings add up over the layers.
        runtime: Where the outputs come from.
    """

    pixels: Array
    outputs: Array
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_dtype: str
    exact: bool
    tolerance: float
    limit: float
    runtime: str

    @property
    def inputs(self) -> Array:
        """What the file is fed: (n, height, width, channels) of its input's type."""
        if self.input_dtype == "uint8":
            return self.pixels
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        return np.asarray((self.pixels.astype(np.float32) - mean) / std, np.float32)


def compact(pixels: Array, limit: int) -> tuple[Array, int, bytes]:
    """Return golden photos made of `pixels` (n, height, width, channels), the step d, and their bytes within `limit`.

    Fewer of them are kept where even the largest step does not make room for all.
    """
    for count in range(len(pixels), 0, -1):
        for step in _STEPS:
            kept = np.ascontiguousarray(pixels[:count, ::step, ::step])
            packed = zlib.compress(kept.tobytes(), 9)
            if len(packed) <= limit or (count == 1 and step == _STEPS[-1]):
                return _spread(kept, step, pixels.shape[1:3]), step, packed
    raise ValueError("no photo")


def to_bytes(test: SelfTest, step: int, packed: bytes) -> bytes:
    """Return the entry of a test whose photos `compact` packed."""
    outputs = np.ascontiguousarray(test.outputs.astype(test.outputs.dtype.newbyteorder("<"), copy=False))
    header = {
        "format": FORMAT_VERSION,
        "count": len(test.pixels),
        "size": list(test.pixels.shape[1:]),
        "step": step,
        "packed": len(packed),
        "input": {"dtype": test.input_dtype, "mean": list(test.mean), "std": list(test.std)},
        "output": {"dtype": outputs.dtype.name, "shape": list(outputs.shape[1:])},
        "exact": test.exact,
        "tolerance": test.tolerance,
        "limit": test.limit,
        "runtime": test.runtime,
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return _MAGIC + _LENGTH.pack(len(text)) + text + packed + outputs.tobytes()


def read_self_test(entry: bytes, name: str) -> SelfTest:
    """Return the test of an entry; raises FormatError, which calls the file `name`, for anything else."""
    where = f"{name}, metadata {ENTRY}"
    header, rest = _header(entry, where)
    try:
        return _read(header, rest)
    except (KeyError, TypeError, ValueError, OverflowError, zlib.error) as error:
        raise FormatError(f"{where}: {error if str(error) else type(error).__name__}") from error


def _header(entry: bytes, where: str) -> tuple[Mapping[str, Any], bytes]:
    start = len(_MAGIC) + _LENGTH.size
    if entry[: len(_MAGIC)] != _MAGIC or len(entry) < start:
        raise FormatError(f"{where}: does not begin with {_MAGIC.decode()} and a length")
    (length,) = _LENGTH.unpack_from(entry, len(_MAGIC))
    if length > len(entry) - start:
        raise FormatError(f"{where}: its JSON would have {length} of {len(entry)} bytes")
    try:
        header = json.loads(entry[start : start + length])
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: not JSON ({error})") from error
    version = header.get("format") if isinstance(header, dict) else None
    if type(version) is not int or version < 1:
        raise FormatError(f"{where}: its format is {version!r}, wanted a number of 1 or more")
    if version > FORMAT_VERSION:
        raise FormatError(f"{where}: format {version}, this edge-sdk reads up to {FORMAT_VERSION}; upgrade it")
    return header, entry[start + length :]


def _read(header: Mapping[str, Any], rest: bytes) -> SelfTest:
    count = _whole(header, "count", _MOST_PHOTOS)
    step = _whole(header, "step", _STEPS[-1])
    packed = _whole(header, "packed", len(rest))
    size, shape = _sizes(header["size"], "size"), _sizes(header["output"]["shape"], "output shape")
    dtype, input_dtype = header["output"]["dtype"], header["input"]["dtype"]
    if len(size) != 3 or dtype not in _DTYPES or input_dtype not in _DTYPES:
        raise ValueError(f"a photo of size {size}, input {input_dtype!r}, output {dtype!r}")
    kept = (count, -(-size[0] // step), -(-size[1] // step), size[2])
    wanted = int(np.prod(kept, dtype=object))
    if count * int(np.prod(size, dtype=object)) > _MOST_PIXELS:
        raise ValueError(f"{count} photos of size {size} are too many pixels")
    inflater = zlib.decompressobj()
    pixels = inflater.decompress(rest[:packed], wanted)  # no more is unpacked than was announced
    if len(pixels) != wanted or not inflater.eof or inflater.unused_data:
        raise ValueError(f"{len(pixels)} bytes of pixels, wanted {wanted}")
    results = rest[packed:]
    if len(results) != count * int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize:
        raise ValueError(f"{len(results)} bytes of outputs for {count} of shape {shape}")
    outputs = np.frombuffer(results, np.dtype(dtype).newbyteorder("<")).reshape(count, *shape).astype(dtype)
    mean, std = (_numbers(header["input"][key], size[2], key) for key in ("mean", "std"))
    tolerance, exact, runtime = header["tolerance"], header["exact"], header["runtime"]
    if type(exact) is not bool or not isinstance(runtime, str):
        raise TypeError("exact must be true or false, runtime a text")
    tolerance, limit = _numbers([tolerance, header["limit"]], 2, "tolerance and limit")
    stored = np.frombuffer(pixels, np.uint8).reshape(kept)
    spread = _spread(stored, step, size[:2])
    return SelfTest(spread, outputs, mean, std, input_dtype, exact, tolerance, limit, runtime)


def _whole(header: Mapping[str, Any], key: str, most: int) -> int:
    value = header[key]
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{key} is {value!r}, wanted a whole number from 1 to {most}")
    return value


def _sizes(value: object, name: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 8:
        raise ValueError(f"{name} is {value!r}, wanted a list of sizes")
    if not all(type(side) is int and 1 <= side <= _MOST_PIXELS for side in value):
        raise ValueError(f"{name} is {value!r}, wanted whole numbers from 1 to {_MOST_PIXELS}")
    return tuple(value)


def _numbers(value: object, count: int, name: str) -> tuple[float, ...]:
    finite = isinstance(value, list) and all(type(v) in (int, float) and abs(v) < 1e30 for v in value)
    if not isinstance(value, list) or not finite or len(value) != count or (name == "std" and min(value) <= 1e-30):
        raise ValueError(f"{name} is {value!r}, wanted {count} finite numbers")
    return tuple(float(v) for v in value)


def _spread(kept: Array, step: int, size: tuple[int, ...]) -> Array:
    rows, columns = np.arange(size[0]) // step, np.arange(size[1]) // step
    return np.ascontiguousarray(kept[:, rows][:, :, columns])
