"""What quantization-aware training saves is exported as it is: no number is chosen anew."""

from __future__ import annotations

import copy
import platform

import numpy as np
import pytest
from small_networks import NETWORKS, NORMALISED, PIXELS, network
from tiny_models import tiny_model

import edge_sdk as edge
from edge_sdk.converters.onnx.export import export_onnx
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.errors import ExportError, FormatError, UsageError
from edge_sdk.evaluation import evaluate
from edge_sdk.graph import Graph, Node
from edge_sdk.model import Model
from edge_sdk.opening import open_quantized
from edge_sdk.ops.conv import Conv2D
from edge_sdk.passes.rewrite import rename
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe
from edge_sdk.quantization.fake_quantization import fake_quantized, trained_candidate
from edge_sdk.quantization.integer_forms import integer_forms
from edge_sdk.quantization.post_training import quantize
from edge_sdk.quantization.profile import PROFILES
from edge_sdk.quantization.quantization_aware import quantize_aware
from edge_sdk.quantization.rounded_model import ENTRY, candidate_of, rounded_model
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.spec import BATCH, Spec, Value

X86 = platform.machine() in ("x86_64", "AMD64")
SETTINGS = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "augment": "off", "compute_threads": 1}
SCHEMES = {
    "default": Scheme(),
    "one scale a weight": Scheme(per_channel=False),
    "symmetric": Scheme(symmetric=True),
    "4 bits": Scheme(weights="int4", dense_per_channel=True),
    "a layer in floats": Scheme(layers={"layer0": "float32"}),
    "the last layer in floats": Scheme(layers={"logits": "float32"}),
}


def noise(count: int, seed: int) -> ArrayDataset:
    """Photos that cannot be told apart, so that a model is right about a third of them."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)
    return ArrayDataset.of(pixels, np.arange(count) % 3, ("blue", "green", "red"))


TRAINING, HELD_OUT = noise(64, 0), noise(96, 1)


def calibrated(layers: tuple, scheme: Scheme) -> Candidate:
    """A candidate of a network of these layers, whose 8 channels are made of a photo's three."""
    graph, arrays = network(*layers)
    image, wide, weight = Value("image"), Value("wide"), Value("wide.weight")
    graph, _ = rename(graph, {image: wide})
    arrays[weight] = np.random.default_rng(3).standard_normal((8, 1, 1, 3)).astype(np.float32)
    specs = {**graph.specs, image: Spec((BATCH, 12, 12, 3)), weight: Spec((8, 1, 1, 3))}
    nodes = (Node(Conv2D(), (image, weight), (wide,)), *graph.nodes)
    graph = Graph(graph.name, (image,), (weight, *graph.params), nodes, graph.outputs, specs)
    graph, arrays = integer_forms(graph, arrays)
    rule = Preprocess((12, 12), mean=(128.0,) * 3, std=(64.0,) * 3)
    return observe(Candidate(graph, arrays, rule, PIXELS, scheme), [NORMALISED[..., :3]])


def saved(candidate: Candidate, quantized, path) -> Model:
    """What comes back of a file of a candidate's rounded network."""
    plain = Model(candidate.graph, candidate.workspace, candidate.preprocess, tuple("abcdefghij"))
    rounded_model(plain, candidate, quantized, "xnnpack").save(path)
    return edge.load(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run and its folder."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    return quantize_aware(tiny_model(), TRAINING, HELD_OUT, out=folder, **SETTINGS), folder


@pytest.mark.parametrize("learned", [True, False], ids=["learned scales", "given scales"])
@pytest.mark.parametrize("profile", PROFILES)
def test_the_exported_file_gives_what_training_was_validated_by(profile, learned, tmp_path):
    """best.edge, exported without a photo: its accuracy is the run's, each logit that of our integers, by profile."""
    if profile == "litert" and not X86:
        pytest.skip("describes x86")
    folder, path = tmp_path / "run", tmp_path / "m.tflite"
    arguments = {"profile": profile, "learned_scales": learned, "out": folder, **SETTINGS}
    validated = quantize_aware(tiny_model(), TRAINING, HELD_OUT, **arguments).run.history

    report = edge.export(edge.load(folder), path, quantize="int8")

    theirs = evaluate(TFLiteModel(path.read_bytes(), profile=profile), HELD_OUT)
    ours = evaluate(quantize(edge.load(folder)), HELD_OUT)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    assert theirs.top1 == max(epoch.validation_accuracy for epoch in validated)
    assert 0.2 < theirs.top1 < 0.6
    assert report.float_tensors == ()


def test_a_model_file_is_evaluated_on_integers(run):
    """By its path, as the exported file would answer; a profile may be chosen."""
    _, folder = run

    scores = {profile: evaluate(open_quantized(folder, profile), HELD_OUT).scores for profile in PROFILES}

    np.testing.assert_array_equal(evaluate(folder, HELD_OUT).scores, scores["xnnpack"])
    assert not np.array_equal(scores["reference"], scores["xnnpack"])


def test_the_saved_model_holds_the_candidate(run):
    """Weights, ranges and learned scales are those that the run returns."""
    aware, folder = run

    found = candidate_of(edge.load(folder))

    assert found.activations == aware.candidate.activations
    assert found.weight_parameters == aware.candidate.weight_parameters
    (graph, arrays), (wanted, expected) = integer_graph(found), integer_graph(aware.candidate)
    assert graph == wanted
    assert arrays.digest() == expected.digest()


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "given"])
@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        *((name, "default") for name in sorted(NETWORKS.keys() - {"aliases"})),
        *(("plain", s) for s in list(SCHEMES)[1:]),
    ],
)
def test_every_kind_of_layer_and_scheme_comes_back(name, scheme, learned, tmp_path):
    """After weights and scales moved, the integers of the file are those of the trained candidate."""
    candidate = calibrated(NETWORKS[name], SCHEMES[scheme])
    quantized = fake_quantized(candidate, learned=learned)
    random = np.random.default_rng(2)
    for value in quantized.trained:
        factor = 1 + 0.1 * random.standard_normal(quantized.workspace[value].shape)
        quantized.workspace[value] = (quantized.workspace[value] * factor).astype(np.float32)
    wanted, expected = integer_graph(trained_candidate(candidate, quantized, quantized.workspace), "uint8", "uint8")

    graph, arrays = integer_graph(candidate_of(saved(candidate, quantized, tmp_path / "m.edge")), "uint8", "uint8")

    assert graph == wanted
    assert arrays.digest() == expected.digest()


def test_weights_whose_scale_was_decided_keep_it(tmp_path):
    """A given scale that is not the largest magnitude's travels with the file."""
    candidate = calibrated(NETWORKS["plain"], Scheme())
    quantized = fake_quantized(candidate, learned=True)
    decided = trained_candidate(candidate, quantized, quantized.workspace)
    halved = {
        v: type(q)(tuple(s / 2 for s in q.scale), q.zero_point, q.axis) for v, q in decided.weight_parameters.items()
    }
    narrow = Candidate(
        candidate.graph, candidate.workspace, candidate.preprocess, PIXELS, Scheme(), candidate.activations, halved
    )

    found = candidate_of(saved(narrow, fake_quantized(narrow, learned=False), tmp_path / "m.edge"))

    assert found.weight_parameters == halved


def test_training_goes_on_from_a_saved_model(run):
    """A second run starts from the first one's integers, without calibration."""
    _, folder = run
    model = edge.load(folder)

    found = quantize_aware(model, TRAINING, HELD_OUT, **{**SETTINGS, "epochs": 1, "learning_rate": 1e-30})

    assert integer_graph(found.candidate)[0] == integer_graph(candidate_of(model))[0]


def test_onnx_files_hold_the_same_numbers(run, tmp_path):
    """An 8-bit ONNX file of the model, without photos to calibrate on, answers as our Session does."""
    pytest.importorskip("onnxruntime")
    _, folder = run

    report = export_onnx(edge.load(folder), tmp_path / "m.onnx", "int8", check=HELD_OUT)

    assert report.session_agreement > 0.97
    assert report.session_difference <= 0.05


def test_what_does_not_fit_is_refused(run, tmp_path):
    """Other precisions, photos to calibrate on, another scheme, blue first, a profile of real numbers."""
    model = edge.load(run[1])

    for precision in ("none", "fp16", "dynamic"):
        with pytest.raises(UsageError, match="trained in 8-bit numbers, and is exported with quantize='int8'"):
            edge.export(model, tmp_path / "m.tflite", precision)
    with pytest.raises(UsageError, match="leave out calibrate"):
        edge.export(model, tmp_path / "m.tflite", "int8", calibrate=TRAINING)
    with pytest.raises(UsageError, match="its 8-bit form has no other"):
        quantize(model, scheme=Scheme(weights="int4"))
    with pytest.raises(UsageError, match="go on with the same"):
        quantize_aware(model, TRAINING, scheme=Scheme(weights="int4"))
    with pytest.raises(UsageError, match="needs photos to calibrate on"):
        quantize(tiny_model())
    with pytest.raises(UsageError, match="was not trained in 8-bit numbers"):
        candidate_of(tiny_model())
    blue = Preprocess((16, 16), mean=(127.0,) * 3, std=(128.0,) * 3, channels="bgr")
    with pytest.raises(ExportError, match="blue first"):
        edge.export(model.replace(preprocess=blue), tmp_path / "m.tflite", "int8")
    tiny_model().save(tmp_path / "plain.edge")
    with pytest.raises(FormatError, match="no profile"):
        open_quantized(tmp_path / "plain.edge", "reference")
    assert [file.name for file in tmp_path.iterdir()] == ["plain.edge"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry.clear(),
        lambda entry: entry.pop("activations"),
        lambda entry: entry["activations"].pop("logits"),
        lambda entry: entry["activations"].update(strange=[1.0, 0]),
        lambda entry: entry["activations"].update(logits=[-1.0, 0]),
        lambda entry: entry["activations"].update(logits=[1.0, 1 << 40]),
        lambda entry: entry["activations"].update(logits=[float("nan"), 0]),
        lambda entry: entry["activations"].update(logits="ab"),
        lambda entry: entry.update(activations=[1, 2]),
        lambda entry: entry.update(pixels=[[], 0]),
        lambda entry: entry["scheme"].update(weights="int5"),
        lambda entry: entry["scheme"].update(weights="int4"),
        lambda entry: entry["scheme"].update(per_channel=False),
        lambda entry: entry["scheme"].update(wings=2),
        lambda entry: entry["scheme"].update(layers={"nothing": "float32"}),
        lambda entry: entry["scheme"].update(layers=["logits"]),
        lambda entry: entry["scheme"].update(layers={"head": "float32"}),
        lambda entry: entry.update(scheme=None),
    ],
)
def test_a_damaged_entry_is_a_format_error(damage, run):
    """What a file says of its integers is compared with its graph before anything is made of it."""
    model = edge.load(run[1])
    entry = copy.deepcopy(model.provenance[ENTRY])
    damage(entry)

    with pytest.raises(FormatError, match="tiny: provenance 'quantization' does not fit"):
        candidate_of(model.replace(provenance={**model.provenance, ENTRY: entry}))


def test_without_its_entry_a_model_cannot_be_exported(run):
    """The message says what is missing; so it does of the profile."""
    model = edge.load(run[1])

    with pytest.raises(FormatError, match="does not say to which integers"):
        candidate_of(model.replace(provenance={}))
    with pytest.raises(FormatError, match="names no profile"):
        quantize(model.replace(provenance={ENTRY: {**model.provenance[ENTRY], "profile": "fastest"}}))
