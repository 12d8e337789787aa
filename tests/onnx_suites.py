"""ONNX's own backend tests, run on the engine: which of them, and which not and why."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from edge_sdk.converters.onnx.backend import EdgeBackend
from edge_sdk.converters.onnx.definitions import defined_by_onnx
from edge_sdk.converters.onnx.proto import dtype_name
from edge_sdk.converters.onnx.table import readers
from edge_sdk.errors import EdgeError, FormatError

RANDOM = "its numbers are random, and no two implementations draw the same"
HALF = "float16 sums are rounded in another order; the tolerance is less than half a unit in the last place"
OPTIONAL = "optional values are no tensors of a static graph"
INDICES = "the indices of a pool's largest elements are not computed"
VOLUME = "transposed convolutions of volumes: the engine's are of images"
OLD = "the form before opset 9, which no exporter writes"
GRADIENT = "onnx's training domain; this engine has its own gradients"

EXEMPT = {
    r"test_attention_4d_causal_fp16(_expanded)?": HALF,
    r"test_bernoulli(_double|_seed)?": RANDOM,
    r"test_training_dropout(_default)?(_mask)?": RANDOM,
    r"test_maxpool_with_argmax_2d_precomputed_(pads|strides)": INDICES,
    r"test_convtranspose_3d": VOLUME,
    r"test_scan_sum": OLD,
}
"""Tests of operators that are read, by a pattern of their names, and why they are not passed."""


@dataclass
class Outcome:
    """What became of a suite."""

    passed: list[str] = field(default_factory=list)
    exempt: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    devices: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        total = len(self.passed) + self.exempt.total() + self.unread.total() + len(self.failed)
        counts = f"{self.exempt.total()} exempt, {self.unread.total()} of operators that are not read"
        lines = [f"{len(self.passed)} of {total} passed ({dict(self.devices)}), {counts}, {len(self.failed)} failed"]
        lines += [f"  exempt {count:4}: {reason}" for reason, count in self.exempt.most_common()]
        lines += [f"  not read: {', '.join(sorted(self.unread))}"]
        return "\n".join(lines + [f"  FAILED {name}: {why}" for name, why in self.failed.items()])


def operators(graph):
    """The operators of a graph and of the graphs inside of it."""
    found = set()
    for node in graph.node:
        found.add((node.domain, node.op_type))
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= operators(attribute.g)
    return found


def unread_operators(model):
    """Those that are neither in the reader's table nor defined by ONNX as functions of others."""
    opset = max(entry.version for entry in model.opset_import)
    return sorted(
        name
        for domain, name in operators(model.graph)
        if domain not in ("", "ai.onnx") or (name not in readers() and not defined_by_onnx(name, opset))
    )


def reason_to_skip(model):
    """Why the engine cannot have the types of a model's border, or an empty string."""
    codes = [entry.data_type for entry in model.graph.initializer]
    for info in (*model.graph.input, *model.graph.output):
        kind = info.type.WhichOneof("value")
        if kind not in ("tensor_type", "sequence_type"):
            return OPTIONAL
        holder = info.type if kind == "tensor_type" else info.type.sequence_type.elem_type
        codes.append(holder.tensor_type.elem_type)
    for node in model.graph.node:
        codes += [attribute.t.data_type for attribute in node.attribute if attribute.HasField("t")]
        codes += [attribute.i for attribute in node.attribute if (node.op_type, attribute.name) == ("Cast", "to")]
        codes += [attribute.i for attribute in node.attribute if attribute.name == "output_dtype"]
    for code in codes:
        try:
            if code:
                dtype_name(code, "it")
        except FormatError:
            return f"{TensorProto.DataType.Name(code).lower()}: a type that the engine does not have"
    return ""


def stored(folder):
    """The inputs and outputs that lie beside a stored model."""

    def array(path, info):
        if info.type.WhichOneof("value") == "sequence_type":
            return numpy_helper.to_list(onnx.SequenceProto.FromString(path.read_bytes()))
        return numpy_helper.to_array(onnx.load_tensor(path))

    def arrays(kind, data, infos):
        count = len(list(data.glob(f"{kind}_*.pb")))
        return [array(data / f"{kind}_{index}.pb", infos[index]) for index in range(count)]

    graph = onnx.load(folder / "model.onnx").graph
    data_sets = sorted(folder.glob("test_data_set_*"))
    return [(arrays("input", data, graph.input), arrays("output", data, graph.output)) for data in data_sets]


def as_array(value):
    """What a test gives, which may be a stored tensor, or a sequence of them."""
    if isinstance(value, list):
        return [as_array(each) for each in value]
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def run_suite(kind: str) -> Outcome:
    """Run every test of a suite all of whose operators are read."""
    outcome = Outcome()
    for test in load_model_tests(kind=kind):
        model = test.model or onnx.load(Path(test.model_dir) / "model.onnx")
        unread = unread_operators(model)
        if unread:
            outcome.unread[unread[0]] += 1
            continue
        reason = reason_to_skip(model)
        named = next((why for pattern, why in EXEMPT.items() if re.fullmatch(pattern, test.name)), "")
        if reason or named:
            outcome.exempt[reason or named] += 1
        if reason:
            continue
        cases = test.data_sets if test.data_sets is not None else stored(Path(test.model_dir))
        try:
            prepared = EdgeBackend.prepare(model)
            for inputs, wanted in cases:
                actual = list(prepared.run(list(inputs)))
                Runner.assert_similar_outputs([as_array(each) for each in wanted], actual, test.rtol, test.atol)
        except (AssertionError, EdgeError) as error:
            if not named:
                outcome.failed[test.name] = " ".join(str(error).split())[:300]
            continue
        if named:
            outcome.stale.append(test.name)
        else:
            outcome.passed.append(test.name)
            outcome.devices[prepared.device or "while reading"] += 1
    return outcome


def photo(shape):
    """What ONNX's runner feeds its light networks."""
    count = int(np.prod(shape))
    return (np.arange(count).reshape(shape) / count).astype(np.float32)
