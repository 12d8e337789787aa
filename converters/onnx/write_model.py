"""A graph as an ONNX model, checked by ONNX's own checker, and what it says about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_sdk import __version__
from edge_sdk.converters.onnx.proto import onnx_package
from edge_sdk.converters.onnx.writing import ImageLayout, Weights, Writing
from edge_sdk.errors import ExportError, FormatError, UsageError
from edge_sdk.graph import Graph
from edge_sdk.preprocess import Preprocess
from edge_sdk.workspace import Workspace

if TYPE_CHECKING:
    from onnx import ModelProto

OLDEST_OPSET, NEWEST_OPSET, DEFAULT_OPSET = 13, 21, 17
"""Opset 13 is the first with a scale a channel and with axes as inputs; ONNX Runtime reads 17 since 1.12."""
RUNTIMES = {13: "1.6", 14: "1.8", 15: "1.10", 16: "1.11", 17: "1.12", 18: "1.14", 19: "1.15", 20: "1.17", 21: "1.18"}
"""The first ONNX Runtime that reads an opset (onnxruntime.ai/docs/reference/compatibility.html)."""
ENTRY = "edge_sdk"
FORMAT_VERSION = 1
MAX_ENTRY_BYTES = 64 << 20


@dataclass(frozen=True)
class About:
    """What a classifier's file says about itself; the labels are in the order of the outputs."""

    name: str
    preprocess: Preprocess
    labels: tuple[str, ...]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class WrittenModel:
    """The model, how many nodes of each operator it has, and the weights that stay float32 all the same."""

    proto: ModelProto
    operators: Mapping[str, int]
    float_weights: tuple[str, ...]


def write(
    graph: Graph,
    workspace: Workspace,
    *,
    opset: int = DEFAULT_OPSET,
    weights: Weights = "float32",
    image_layout: ImageLayout = "nhwc",
    about: About | None = None,
) -> WrittenModel:
    """Return a graph as an ONNX model with an open batch; an 8-bit graph in QDQ form.

    Inputs of four axes are taken in `image_layout`; outputs keep the graph's order of axes. Weights may be stored in
    fewer bits, and are float32 again before they are used. Equal graphs give equal bytes.

    Raises:
        UsageError: an opset that is not written.
        ExportError: operators without a form in ONNX, or in this opset of it, all of them named.
        MissingExtraError: the package onnx is not installed.
    """
    check_opset(opset)
    onnx = onnx_package()
    writing = Writing(graph, workspace, opset, weights)
    proto = writing.run(image_layout)
    imports = [onnx.helper.make_opsetid("", opset)]
    model: ModelProto = onnx.helper.make_model(
        proto,
        opset_imports=imports,
        ir_version=onnx.helper.find_min_ir_version_for(imports),
        producer_name="edge-sdk",
        producer_version=__version__,
    )
    if about is not None:
        onnx.helper.set_model_props(model, _properties(about, workspace))
    return WrittenModel(model, dict(sorted(writing.operators.items())), tuple(writing.float_weights))


def check_opset(opset: int) -> None:
    """Raise UsageError for an opset that is not written."""
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise UsageError(f"opset {opset}: files of opsets {OLDEST_OPSET} to {NEWEST_OPSET} are written")


def check_model(model: ModelProto | str) -> None:
    """Let ONNX check a model, or a file by its path: every node by its definition, every shape inferred."""
    onnx = onnx_package()
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ExportError(f"ONNX's checker refuses the file: {str(error).strip()[:500]}") from error


def stated(model: ModelProto) -> About | None:
    """Return what a file that the SDK wrote says about itself; raises FormatError when its entry is damaged."""
    found = [entry.value for entry in model.metadata_props if entry.key == ENTRY]
    if not found:
        return None
    if len(found[0]) > MAX_ENTRY_BYTES:
        raise FormatError(f"metadata {ENTRY!r} has {len(found[0])} characters, more than {MAX_ENTRY_BYTES}")
    try:
        entry = json.loads(found[0])
    except (ValueError, RecursionError) as error:
        raise FormatError(f"metadata {ENTRY!r} is no JSON") from error
    if not isinstance(entry, dict) or entry.get("format") != FORMAT_VERSION:
        raise FormatError(f"metadata {ENTRY!r} is not of format {FORMAT_VERSION}")
    name, labels, rule, facts = (entry.get(key) for key in ("name", "labels", "preprocess", "provenance"))
    texts = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    if not (texts and isinstance(name, str) and isinstance(rule, dict) and isinstance(facts, dict)):
        raise FormatError(f"metadata {ENTRY!r} lacks a name, labels, preprocessing or provenance")
    return About(name, Preprocess.from_dict(rule), tuple(labels or ()), facts)


def _properties(about: About, workspace: Workspace) -> dict[str, str]:
    """Everything under the SDK's own key, and what other clients look for under plain ones."""
    entry = {
        "format": FORMAT_VERSION,
        "name": about.name,
        "labels": list(about.labels),
        "preprocess": about.preprocess.to_dict(),
        "provenance": dict(about.provenance),
        "weights_sha256": workspace.digest(),
    }
    rule = about.preprocess
    return {
        ENTRY: json.dumps(entry, sort_keys=True, separators=(",", ":")),
        "labels": json.dumps(list(about.labels), separators=(",", ":")),
        "mean": json.dumps(rule.mean),
        "std": json.dumps(rule.std),
        "channels": rule.channels,
    }
