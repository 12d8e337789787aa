"""Is an exported file still what it was, and does the installed runtime still give its scores? `edge verify`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_sdk.converters.tflite import seal, self_test
from edge_sdk.converters.tflite.metadata import EDGE_ENTRY, TFLITE_ENTRY
from edge_sdk.converters.tflite.replay import Replay, replay
from edge_sdk.converters.tflite.runtime import TensorInfo, TFLiteModel
from edge_sdk.converters.tflite.sidecar import read_sidecar
from edge_sdk.errors import FormatError

State = Literal["passed", "failed", "absent"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. "absent": the file has nothing to check, which is no failure by itself."""

    name: str
    state: State
    detail: str


@dataclass(frozen=True)
class Verification:
    """What was found of a file; `replay` is None where its self-test could not be run."""

    path: str
    sha256: str
    checks: tuple[Check, ...]
    replay: Replay | None
    lineage: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(check.state != "failed" for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {**dataclasses.asdict(self), "passed": self.passed}


def verify_file(path: Path | str, threads: int | None = None) -> Verification:
    """Check a .tflite file: its hash, tensors, labels, metadata, side-car, and its self-test in the installed runtime.

    Raises:
        FormatError: there is no such file, or it cannot be read from the disk. What is in it never raises.
        MissingExtraError: no runtime is installed.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    digest = hashlib.sha256(data).hexdigest()
    checks = [_attempt("hash", lambda: _hash(data, str(path)))]
    checks.append(_attempt("side-car", lambda: _sidecar(path, digest)))
    try:
        file = TFLiteModel(data, str(path), threads)
    except FormatError as error:
        return Verification(str(path), digest, (*checks, Check("runtime", "failed", str(error))), None, {})
    checks.append(Check("runtime", "passed", f"opens in {file.runtime}"))
    checks.append(_attempt("labels", lambda: _labels(file)))
    checks.append(_attempt("metadata", lambda: _metadata(file)))
    found: list[Replay] = []
    checks.append(_attempt("self-test", lambda: _self_test(file, found)))
    return Verification(str(path), digest, tuple(checks), found[0] if found else None, file.metadata.lineage)


def _attempt(name: str, look: Callable[[], tuple[State, str]]) -> Check:
    try:
        return Check(name, *look())
    except FormatError as error:
        return Check(name, "failed", str(error))


def _hash(data: bytes, name: str) -> tuple[State, str]:
    # One that has lost its mark fails all the same, since it has the entry EDGE_SDK.
    if seal.ENTRY.encode() not in data and EDGE_ENTRY.encode() not in data:
        return "absent", "a file of another maker holds no hash of itself"
    if seal.is_intact(data, name):
        return "passed", "the file is as it was written"
    return "failed", "the file is not as it was written: damaged, or changed afterwards"


def _sidecar(path: Path | str, digest: str) -> tuple[State, str]:
    content = read_sidecar(path)
    if content is None:
        return "absent", "no .json beside the file"
    if content["file"].get("sha256") != digest:
        return "failed", "the .json beside the file is that of another one"
    return "passed", "the .json beside the file is its own"


def _labels(file: TFLiteModel) -> tuple[State, str]:
    shape = file.outputs[0].shape
    classes, labels = shape[-1] if shape else 1, file.metadata.labels
    if not labels:
        return "absent", f"no labels for {classes} outputs"
    if len(labels) != classes:
        return "failed", f"{len(labels)} labels for {classes} outputs"
    return "passed", f"{classes} labels"


def _metadata(file: TFLiteModel) -> tuple[State, str]:
    contract = file.metadata.contract
    if TFLITE_ENTRY not in file.entries or not contract:
        return "absent", "no metadata of edge-sdk"
    for side, tensors in (("input", file.inputs), ("output", file.outputs)):
        stated = contract.get(side)
        if not isinstance(stated, dict):
            return "failed", f"its contract has no {side}"
        found = _tensor(tensors[0]) if len(tensors) == 1 else {}
        for key, value in found.items():
            if stated.get(key) != value:
                return "failed", f"its contract says that the {side}'s {key} is {stated.get(key)!r}, found {value!r}"
    channels = file.inputs[0].shape[-1]
    for numbers in (file.metadata.mean, file.metadata.std):
        if len(numbers) not in (1, channels):
            return "failed", f"{len(numbers)} numbers to normalise {channels} channels by"
    return "passed", "contract and tensors agree"


def _tensor(info: TensorInfo) -> dict[str, Any]:
    quant = info.quant
    stored = None if quant is None else {"scale": quant.scale[0], "zero_point": quant.zero_point[0]}
    return {"dtype": info.dtype, "shape": list(info.shape), "quantization": stored}


def _self_test(file: TFLiteModel, found: list[Replay]) -> tuple[State, str]:
    entry = file.entries.get(self_test.ENTRY)
    if entry is None:
        return "absent", "no self-test in the file"
    result = replay(file, entry)
    found.append(result)
    where = f"{result.photos} photos, recorded in {result.recorded_in}, replayed in {result.replayed_in}"
    if result.verdict == "exact":
        return "passed", f"exact: {where}"
    off = f"{result.largest_difference:.3g}, allowed {result.tolerance:.3g} ({result.limit:.3g} in other runtimes)"
    if result.verdict == "within tolerance":
        kind = "within one step" if result.exact_promised else "within tolerance"
        return "passed", f"{kind}: an output is off by {off}; {where}"
    if result.verdict == "other arithmetic":
        return "passed", f"more than a step, as in a runtime that rounds otherwise: an output is off by {off}; {where}"
    return "failed", f"different: an output is off by {off}; {where}"
