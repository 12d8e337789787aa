"""Weights of 4 bits: stored in half a byte, computed with as the runtime does, read back as they were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import IMAGES, NETWORKS, NORMALISED, PIXELS, network

from edge_sdk.converters.tflite.delegates import readiness
from edge_sdk.converters.tflite.flatfile import packed, unpacked
from edge_sdk.converters.tflite.read_model import read_graph
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.errors import ExportError
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.adaptive_rounding import round_adaptively
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe
from edge_sdk.quantization.fake_quantization import fake_quantized, trained_candidate
from edge_sdk.quantization.integer_forms import integer_forms
from edge_sdk.quantization.profile import PROFILES
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.serialize import graph_from_json, graph_to_json
from edge_sdk.session import Session

WITH_WEIGHTS = sorted(NETWORKS.keys() - {"aliases"})


def candidate_of(name: str, weights: str = "int4") -> Candidate:
    """A calibrated network."""
    graph, workspace = integer_forms(*network(*NETWORKS[name]))
    bare = Candidate(graph, workspace, Preprocess((12, 12)), PIXELS, Scheme(weights=weights))
    return observe(bare, [NORMALISED])


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_a_session_gives_the_bits_of_the_runtime(name, profile):
    """XNNPACK leaves convolutions to the builtin kernels then; the naive depthwise one knows no 4 bits."""
    graph, workspace = integer_graph(candidate_of(name))
    written = write(graph, workspace)
    if profile == "reference" and "DEPTHWISE_CONV_2D" in written.report.operators:
        pytest.skip("the runtime has no naive depthwise convolution with weights of 4 bits")

    wanted = TFLiteModel(written.data, profile=profile).run(IMAGES)

    found = Session(graph, workspace, batch=len(IMAGES), profile=profile).run({"image": IMAGES})["logits"]
    assert np.array_equal(found, wanted)


def test_weights_fill_half_a_byte():
    """In [-7, 7], with a scale a channel; the file says so, and is smaller by half of the weights."""
    wide, narrow = (integer_graph(candidate_of("plain", weights)) for weights in ("int8", "int4"))

    files = [write(*one) for one in (wide, narrow)]

    graph, workspace = narrow
    stored = {value: workspace[value] for value, spec in graph.specs.items() if spec.quant and spec.quant.bits == 4}
    assert len(stored) == 2
    assert {int(np.abs(array).max()) for array in stored.values()} == {7}
    saved = sum(array.size // 2 for array in stored.values())
    assert abs(files[0].report.size - files[1].report.size - saved) <= 64
    assert files[1].report.minimum_runtime == "2.11.0"


def test_a_file_is_read_back_as_it_was_written(tmp_path):
    """The same integers, the same bits in the specs, the same answers; written again, the same weights."""
    graph, workspace = integer_graph(candidate_of("plain"))
    data = write(graph, workspace).data

    path = tmp_path / "x.tflite"
    path.write_bytes(data)

    back, arrays = read_graph(path, quantized=True)

    narrow = [spec for spec in back.specs.values() if spec.quant is not None and spec.quant.bits == 4]
    assert len(narrow) == 2
    (found,) = Session(back, arrays, batch=len(IMAGES)).run({back.inputs[0]: IMAGES}).values()
    assert np.array_equal(found, TFLiteModel(data).run(IMAGES))


def test_the_graph_is_kept_as_json():
    """With its bits; a graph of 8 bits is written as it was before."""
    graph, _ = integer_graph(candidate_of("plain"))

    assert graph_from_json(graph_to_json(graph)) == graph
    assert ", 4]" not in graph_to_json(integer_graph(candidate_of("plain", "int8"))[0])


def test_old_runtimes_are_refused():
    """The operator, its version and the runtime that has it are named."""
    with pytest.raises(ExportError, match=r"CONV_2D.*7.*2\.11"):
        write(*integer_graph(candidate_of("plain")), min_runtime="2.9")


def test_delegates_leave_such_convolutions_out():
    """All but XNNPACK's dense layers."""
    reports = {one.delegate: one for one in readiness(write(*integer_graph(candidate_of("plain"))).data)}

    left_out = {left.operator: left.reason for left in reports["XNNPACK"].left_out}
    assert left_out["CONV_2D"] == "its weights have 4 bits"
    assert "FULLY_CONNECTED" not in left_out
    assert "its weights have 4 bits" in {left.reason for left in reports["NNAPI"].left_out}


def test_adaptive_rounding_stays_within_4_bits():
    """And brings the logits nearer to the float network's than rounding to nearest does."""
    candidate = candidate_of("plain")

    rounded = round_adaptively(candidate, [NORMALISED])

    assert max(int(np.abs(array).max()) for array in rounded.rounded.values()) <= 7
    errors = [_error(one) for one in (candidate, rounded)]
    assert errors[1] < errors[0]


def _error(candidate: Candidate) -> float:
    programs = (candidate.graph, candidate.workspace), integer_graph(candidate, "float32")
    exact, found = (Session(*one, batch=len(NORMALISED)).run({"image": NORMALISED})["logits"] for one in programs)
    return float(np.square(found - exact).sum())


def test_halves_are_packed_low_first():
    """1 and -2 are 0x1 and 0xE; an odd one out has its byte to itself."""
    assert packed(np.array([1, -2, 7], np.int8)).tolist() == [0xE1, 0x07]
    assert unpacked(np.array([0xE1, 0x07], np.uint8), 3).tolist() == [1, -2, 7]


@given(st.lists(st.integers(-8, 7), min_size=1, max_size=40))
def test_packing_loses_nothing(numbers):
    """Any numbers of 4 bits, of any count."""
    array = np.array(numbers, np.int8)

    assert np.array_equal(unpacked(packed(array), len(numbers)), array)


def test_learned_scales_keep_their_bits():
    """What training found for weights of 4 bits is stored in 4 bits: untrained, the candidate comes back."""
    candidate = candidate_of("plain")
    quantized = fake_quantized(candidate, learned=True)

    back = trained_candidate(candidate, quantized, quantized.workspace)

    (graph, arrays), (wanted, expected) = integer_graph(back), integer_graph(candidate)
    assert back.weight_parameters["w0"].bits == 4
    assert graph == wanted
    assert arrays.digest() == expected.digest()
