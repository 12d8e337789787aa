"""Core ML packages, computed from what is stored in them; Core ML itself runs on Apple's systems only.

pip install -e '.[test,coreml]'
pytest -m coreml
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import LABELS, tiny_model, wide_model, write_photos

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.converters.coreml import export_coreml
from edge_sdk.converters.coreml.palette import pack
from edge_sdk.errors import ExportError, MissingExtraError, UsageError
from edge_sdk.model import INPUT, OUTPUT, Model, softmax
from edge_sdk.nn import Network
from edge_sdk.ops.functions import Apply
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.post_training import quantize

# coremltools leaves its temporary folders to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
needs_coremltools = pytest.mark.coreml
TOLERANCE = {"none": 1e-5, "fp16": 5e-3, "dynamic": 0.05}
NETWORKS = {
    "googlenet_caffe": 64, "mobilenet_v3_small": 64, "mnasnet0_5": 64, "resnet18": 64, "shufflenet_v2_x0_5": 64,
    "squeezenet1_1": 64, "vgg11": 32,
}  # fmt: skip


@pytest.fixture
def photos():
    """Coarse noise, uint8 (n, h, w, 3)."""
    return np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)


def stored_probabilities(path: Path, model: Model, photos) -> np.ndarray:
    """What the package's own operations and weights make of photos."""
    pytest.importorskip("coremltools")
    from coreml_evaluator import run_program

    from edge_sdk.converters.coreml.package import load_program

    _, program = load_program(path)
    raw = dataclasses.replace(model.preprocess, mean=(0.0,) * 3, std=(1.0,) * 3)
    images = [np.moveaxis(raw(photo), 2, 0)[np.newaxis] for photo in photos]
    return np.concatenate([run_program(program, image) for image in images])


@needs_coremltools
@pytest.mark.parametrize("precision", ["none", "fp16", "dynamic"])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_stored_program_computes_the_models_probabilities(name, precision, photos, tmp_path):
    """Read back, raw pixels in: normalisation, layers and softmax are those of the model."""
    model = pretrained.load(name, weights=None, num_classes=10, image_size=NETWORKS[name])
    wanted = softmax(model.run(np.stack([model.preprocess(photo) for photo in photos])))

    export_coreml(model, tmp_path / "m.mlpackage", precision)
    found = stored_probabilities(tmp_path / "m.mlpackage", model, photos)

    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE[precision])


@needs_coremltools
def test_8_bit_activations_are_those_of_our_own_8_bit_model(photos, tmp_path):
    """Quantized on the same photos, the stored program and the Session go together."""
    model = tiny_model()
    wanted = softmax(quantize(model, photos, "float32").run(np.stack([model.preprocess(photo) for photo in photos])))

    report = export_coreml(model, tmp_path / "m.mlpackage", "int8", calibrate=photos)
    found = stored_probabilities(tmp_path / "m.mlpackage", model, photos)

    assert report.operators["quantize"] > 5
    assert report.minimum_runtime == "iOS17"
    np.testing.assert_allclose(found, wanted, atol=0.01)


@needs_coremltools
@pytest.mark.parametrize("bits", [4, 6])
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5"])
def test_palettes_are_stored_as_tables(name, bits, photos, tmp_path):
    """The program read back computes what the Session does with the same numbers, and they are in it as indices."""
    from edge_sdk.converters.coreml.package import WEIGHTS

    model = pretrained.load(name, weights=None, num_classes=10, image_size=NETWORKS[name])
    palettized = edge.palettize(model, bits)
    wanted = softmax(palettized.model.run(np.stack([model.preprocess(photo) for photo in photos])))

    report = export_coreml(model, tmp_path / "m.mlpackage", f"palette{bits}")
    found = stored_probabilities(tmp_path / "m.mlpackage", model, photos)

    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert report.operators["constexpr_lut_to_dense"] == len(palettized.tables)
    assert report.minimum_runtime == "iOS16"
    weights = sum(palettized.model.workspace[weight].size for weight in palettized.tables)
    others = sum(array.size for array in palettized.model.workspace.values()) - weights
    tables = sum(table.size for table in palettized.tables.values())
    stored = (tmp_path / "m.mlpackage" / WEIGHTS / "weight.bin").stat().st_size
    blocks = 64 + 128 * (len(palettized.model.workspace) + 2 * len(palettized.tables) + 10)  # each has a head, aligned
    assert weights * bits / 8 < stored < weights * bits / 8 + 4 * (others + tables) + blocks


@needs_coremltools
def test_decoded_weights_are_the_palettes_numbers(tmp_path):
    """Indices and tables as coremltools itself decodes them are the weights that the Session ran with, bit for bit."""
    pytest.importorskip("coremltools")
    from edge_sdk.converters.coreml.package import load_program, operations

    model = wide_model()
    export_coreml(model, tmp_path / "m.mlpackage", "palette4")

    _, program = load_program(tmp_path / "m.mlpackage")
    (lookup,) = (one for one in operations(program) if one.op_type == "constexpr_lut_to_dense")
    decoded = lookup.materialized_val_inference()

    weight = edge.palettize(model, 4).model.workspace["second.weight.folded"]
    assert (lookup.indices.val.shape, lookup.lut.val.shape) == ((64 * 64 * 9 // 2,), (16,))
    np.testing.assert_array_equal(decoded, weight.transpose(0, 3, 1, 2))


def test_indices_are_packed_the_lowest_bits_first():
    """By hand, as MIL documents its bytes."""
    assert pack(np.array([3, 9, 5]), 4).tolist() == [0x93, 0x05]
    assert pack(np.array([1, 2, 3, 4]), 6).tolist() == [0b10000001, 0b00110000, 0b00010000]


@needs_coremltools
def test_what_palettes_cost_is_measured_here(tmp_path):
    """Accuracy and agreement are those of the two models that run here."""
    model = wide_model()
    photos = write_photos(tmp_path / "photos")

    report = export_coreml(model, tmp_path / "m.mlpackage", "palette4", check=photos)

    before, after = (edge.evaluate(each, photos) for each in (model, edge.palettize(model, 4).model))
    assert (report.photos, report.model_accuracy, report.stored_accuracy) == (36, before.top1, after.top1)
    assert report.agreement == np.mean(before.predictions == after.predictions)


@needs_coremltools
def test_the_package_says_how_it_is_fed(tmp_path):
    """An image input of the model's size and colours, class labels, and metadata."""
    import coremltools

    model = tiny_model()
    bgr = model.replace(preprocess=dataclasses.replace(model.preprocess, channels="bgr"))

    report = export_coreml(bgr, tmp_path / "m.mlpackage")
    description = coremltools.models.utils.load_spec(str(tmp_path / "m.mlpackage")).description

    image = description.input[0]
    assert (image.name, image.type.imageType.height, image.type.imageType.width) == ("image", 16, 16)
    assert image.type.imageType.ColorSpace.Name(image.type.imageType.colorSpace) == "BGR"
    assert description.predictedFeatureName == "classLabel"
    assert '"channels": "bgr"' in description.metadata.userDefined["preprocess"]
    assert report.runtime.startswith("not run")


@needs_coremltools
def test_equal_models_give_equal_bytes(tmp_path):
    """No date and no random name is left in the package."""
    hashes = []
    for name in ("a", "b"):
        path = tmp_path / name / "m.mlpackage"
        export_coreml(tiny_model(), path)
        files = sorted(file for file in path.rglob("*") if file.is_file())
        hashes.append([(file.relative_to(path), hashlib.sha256(file.read_bytes()).hexdigest()) for file in files])

    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 3


@needs_coremltools
def test_equal_labels_are_made_different(tmp_path):
    """A dictionary by label would lose one of two classes of the same name."""
    model = tiny_model().replace(labels=("crane", "heron", "crane"))

    report = export_coreml(model, tmp_path / "m.mlpackage")

    assert report.renamed_labels == ("crane (class 2)",)


@needs_coremltools
def test_a_package_that_is_not_what_was_written_is_noticed(tmp_path):
    """A changed weight and another image size are errors that name them."""
    pytest.importorskip("coremltools")
    from edge_sdk.converters.coreml.package import WEIGHTS, load_program, verify

    path = tmp_path / "m.mlpackage"
    export_coreml(tiny_model(), path)
    _, program = load_program(path)
    verify(path, program, (16, 16), LABELS)
    weights = path / WEIGHTS / "weight.bin"
    data = bytearray(weights.read_bytes())
    data[-8] ^= 0xFF
    weights.write_bytes(bytes(data))

    with pytest.raises(ExportError, match="is not what was written"):
        verify(path, program, (16, 16), LABELS)
    with pytest.raises(ExportError, match="takes images 16×16, wanted 8×8"):
        verify(path, program, (8, 8), LABELS)


@needs_coremltools
def test_an_operator_without_a_form_leaves_no_package(tmp_path):
    """The message names it; an older package stays."""
    net = Network("hyperbolic", (8, 8, 3), 0)
    x = net.builder.add(Apply("arccosh"), net.image)
    graph, workspace = net.head(net.global_average_pool(x), 3)
    model = Model(graph, workspace, Preprocess((8, 8)), LABELS)
    path = tmp_path / "m.mlpackage"
    export_coreml(tiny_model(), path)
    before = sorted(path.rglob("*"))

    with pytest.raises(ExportError, match="no form in Core ML of Acosh"):
        export_coreml(model, path)

    assert sorted(path.rglob("*")) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.mlpackage", "m.mlpackage.json"]


def test_without_the_package_it_says_what_to_install(monkeypatch, tmp_path):
    """A MissingExtraError with the extra's name."""
    monkeypatch.setitem(sys.modules, "coremltools", None)

    with pytest.raises(MissingExtraError, match=r"edge-sdk\[coreml\]"):
        export_coreml(tiny_model(), tmp_path / "m.mlpackage")


@pytest.mark.parametrize(
    ("name", "precision", "message"),
    [
        ("m.mlmodel", "none", "must end in .mlpackage"),
        ("m.mlpackage", "int4", "not one of none, fp16"),
        ("m.mlpackage", "int8", "needs photos"),
    ],
)
def test_mistakes_are_said_at_once(name, precision, message, tmp_path):
    """Before anything is imported or written."""
    with pytest.raises(UsageError, match=message):
        export_coreml(tiny_model(), tmp_path / name, precision)


def test_photos_to_check_on_are_for_palettes(photos, tmp_path):
    """Other packages are not run, and nothing is said of what they would answer."""
    with pytest.raises(UsageError, match=r"check \(--check\) of a package is for palette4 and palette6"):
        export_coreml(tiny_model(), tmp_path / "m.mlpackage", check=photos)


def test_a_quantized_model_must_take_floats(photos, tmp_path):
    """The normalisation of an image type is outside of the 8-bit graph."""
    quantized = quantize(tiny_model(), photos)

    assert quantized.graph.specs[quantized.graph.value(INPUT)].dtype == "uint8"
    assert OUTPUT in quantized.graph.outputs
    with pytest.raises(UsageError, match="float32 images"):
        export_coreml(tiny_model(), tmp_path / "m.mlpackage", "int8", quantized=quantized)
