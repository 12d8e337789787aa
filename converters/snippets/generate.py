"""An exported file's contract, written out as code: one template a platform, filled with the file's numbers."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.self_test import ENTRY, SelfTest, read_self_test
from edge_sdk.errors import FormatError, UsageError, suggestion

LANGUAGES: Mapping[str, tuple[str, ...]] = {
    "c": ("classify.c",),
    "javascript": ("classify.mjs",),
    "kotlin": ("LiteRtClassifier.kt", "MediaPipeClassifier.kt"),
    "python": ("classify.py",),
    "swift": ("Classifier.swift",),
}
"""The files of each language; each has a template of its name."""

_FILTERS = ("nearest", "bilinear", "bicubic")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class _Template(string.Template):
    delimiter = "§"  # in no source of these languages


@dataclass(frozen=True)
class _Source:
    """What is known of the file."""

    path: Path
    data: bytes
    file: TFLiteModel
    test: SelfTest


def write_snippets(path: Path | str, folder: Path | str, languages: tuple[str, ...] = ()) -> tuple[Path, ...]:
    """Write code that runs the exported file `path` to a folder, with the file, its labels and its self-test.

    `languages` are some of `LANGUAGES`, or all when there is none. Returns what was written.

    Raises:
        UsageError: an unknown language, or a file name that source code cannot quote as it is.
        FormatError: the file is not one that edge-sdk wrote with a contract and a self-test.
    """
    for language in languages:
        if language not in LANGUAGES:
            raise UsageError(f"{language!r} is not one of {', '.join(LANGUAGES)}{suggestion(language, LANGUAGES)}")
    source = _read(Path(path))
    values = _values(source)
    contents = {
        source.path.name: source.data,
        "labels.txt": "\n".join(" ".join(label.splitlines()) for label in source.file.labels).encode(),
        "self_test_input.bin": source.test.inputs.tobytes(),
        "self_test_output.bin": source.test.outputs.tobytes(),
    }
    for language in languages or LANGUAGES:
        for name in LANGUAGES[language]:
            template = resources.files(__package__).joinpath("templates", f"{name}.template").read_text("utf-8")
            contents[name] = _Template(template).substitute(values).encode()
    for name, content in contents.items():
        atomic_write_bytes(Path(folder) / name, content)
    return tuple(Path(folder) / name for name in contents)


def _read(path: Path) -> _Source:
    if not _PLAIN_NAME.fullmatch(path.name):
        raise UsageError(f"{path}: apps name the file in their code; rename it to letters, digits, '.', '-' and '_'")
    file = TFLiteModel.open(path)
    if not file.metadata.contract or ENTRY not in file.entries:
        raise FormatError(
            f"{path}: holds no contract and self-test to write code from; export it anew with edge export"
        )
    test = read_self_test(file.entries[ENTRY], str(path))
    wanted = file.inputs[0].shape[1:]
    if test.pixels.shape[1:] != wanted or len(file.outputs[0].shape) != 2:
        raise FormatError(f"{path}: a classifier of photos {list(wanted)} with a self-test of its own was wanted")
    return _Source(path, path.read_bytes(), file, test)


def _values(source: _Source) -> dict[str, Any]:
    file, test, rule = source.file, source.test, source.file.preprocess
    contract = file.metadata.contract
    try:
        probabilities = contract["output"]["values"] == "probabilities"
    except (KeyError, TypeError) as error:
        raise FormatError(f"{source.path}: its contract does not say what the output is") from error
    height, width, channels = test.pixels.shape[1:]
    stretch = rule.stretch or rule.size
    quant = file.outputs[0].quant
    is_float = test.input_dtype == "float32"
    outputs = test.outputs.dtype.name
    scale, zero_point = (1.0, 0) if quant is None else (quant.scale[0], quant.zero_point[0])
    kind = "probabilities" if probabilities else "logits, before any softmax"
    return {
        "sdk": _text(file.metadata.lineage.get("sdk", "")),
        "sha256": hashlib.sha256(source.data).hexdigest(),
        "model_file": source.path.name,
        "model_stem": source.path.stem,
        "model_name": _text(file.metadata.name),
        "height": height,
        "width": width,
        "channels": channels,
        "input_dtype": test.input_dtype,
        "input_is_float": int(is_float),
        "js_input_is_float": str(is_float).lower(),
        "input_text": _input_text(test, rule.channels),
        "mean": _numbers(test.mean),
        "std": _numbers(test.std),
        "mean_f": _numbers(test.mean, "f"),
        "std_f": _numbers(test.std, "f"),
        "shorter_side": rule.resize or 0,
        "stretch_height": stretch[0],
        "stretch_width": stretch[1],
        "filter_number": _FILTERS.index(rule.interpolation),
        "filter_upper": rule.interpolation.upper(),
        "photo_text": _photo_text(rule.resize, stretch, rule.size),
        "classes": test.outputs.shape[1],
        "output_dtype": outputs,
        "output_is_float": int(outputs == "float32"),
        "js_output_is_float": str(outputs == "float32").lower(),
        "output_scale": _number(scale),
        "output_zero_point": zero_point,
        "output_text": f"{outputs}, {kind}" + ("" if quant is None else "; number = scale * (stored - zero point)"),
        "probabilities": int(probabilities),
        "js_probabilities": str(probabilities).lower(),
        "python_probabilities": probabilities,
        "mediapipe_scores": "Its scores are probabilities."
        if probabilities
        else "Its scores are logits here; export with --output probabilities to have probabilities.",
        "golden_photos": len(test.pixels),
        "tolerance": _number(test.limit * (1 + 1e-6)),
    }


def _input_text(test: SelfTest, channels: str) -> str:
    order = "grey" if channels == "grey" else "red, green, blue"
    raw = set(test.mean) == {0.0} and set(test.std) == {1.0}
    return f"{test.input_dtype}, {order}, {'pixels 0 to 255' if raw else '(pixel - mean) / std'}"


def _photo_text(resize: int | None, stretch: tuple[int, int], size: tuple[int, int]) -> str:
    first = f"the whole photo to {stretch[1]} x {stretch[0]}" if resize is None else f"the shorter side to {resize}"
    return f"{first} pixels with antialiasing, of which the middle {size[1]} x {size[0]} are kept"


def _numbers(values: tuple[float, ...], ending: str = "") -> str:
    return ", ".join(f"{_number(value)}{ending}" for value in values)


def _number(value: float) -> str:
    """A float32 in the fewest digits that give it back, with a point or exponent, as all of these languages read it."""
    return str(np.float32(value))


def _text(value: object) -> str:
    """A name as a comment can hold it: one line that ends no comment."""
    return re.sub(r"[^A-Za-z0-9 ._()-]", "_", str(value))[:80]
