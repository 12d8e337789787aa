"""Caffe's files: forms of definitions, weights by name, mean images, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_sdk.converters import caffe
from edge_sdk.converters.caffe.network import read_network
from edge_sdk.converters.caffe.text_format import parse
from edge_sdk.errors import EdgeError, FormatError, UsageError
from edge_sdk.ops.activation import Softmax
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.ops.shape import Transpose
from edge_sdk.preprocess import Preprocess

FILES = Path(__file__).parent / "files" / "caffe"
INPUT = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'


def network(name, **options):
    """A network of the folder as a Model."""
    return caffe.read(FILES / f"{name}.prototxt", FILES / f"{name}.caffemodel", **options)


def written(tmp_path, text):
    """A definition in a file."""
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    return path


def test_a_training_definition_gives_the_same_network(tmp_path):
    """Layers of phase TRAIN, losses and what aims at them are left out; the crop says the input's size."""
    text = (FILES / "residual.prototxt").read_text()
    layers = text[text.index("layer {", text.index("layer {") + 1) :]
    source = """
    layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN } transform_param { crop_size: 8 } }
    layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TEST }
      transform_param { crop_size: 16 mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5 mirror: false } }
    """
    loss = """
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc1000" bottom: "label" top: "loss" }
    layer { name: "acc" type: "Accuracy" bottom: "fc1000" bottom: "label" top: "acc" exclude { phase: TRAIN } }
    layer { name: "noise" type: "Python" bottom: "fc1000" top: "noise" include { phase: TRAIN } }
    """
    deployed = network("residual")

    model = caffe.read(written(tmp_path, source + layers + loss), FILES / "residual.caffemodel")

    assert [node.op for node in model.graph.nodes] == [node.op for node in deployed.graph.nodes]
    assert model.preprocess == Preprocess((16, 16), mean=(104, 117, 123), std=(2, 2, 2), channels="bgr")
    x = np.random.default_rng(1).standard_normal((1, 16, 16, 3), np.float32)
    np.testing.assert_array_equal(model.run(x), deployed.run(x))


def test_the_graph_is_ready_to_be_trained_further():
    """The softmax is gone, BatchNorm and Scale are one operator, nothing is transposed, the head has its name."""
    model = network("residual")

    kinds = [type(node.op) for node in model.graph.nodes]
    assert Softmax not in kinds
    assert Transpose not in kinds
    assert kinds.count(BatchNorm) == 4
    assert {"head.weight", "head.bias", "conv1.weight", "scale_conv1.scale", "bn_conv1.mean"} <= set(model.graph.params)


def test_weights_are_found_under_the_names_of_a_state_dict():
    """Layouts are PyTorch's; a batch norm has its statistics divided and the scale of the layer behind it."""
    state = caffe.caffe_state(FILES / "residual.caffemodel")
    blobs = caffe.read_blobs(FILES / "residual.caffemodel")

    assert state["conv1.weight"].shape == (6, 3, 3, 3)
    assert "conv1.bias" not in state
    np.testing.assert_array_equal(state["bn_conv1.running_mean"], blobs["bn_conv1"][0] * np.float32(1 / 3.5))
    np.testing.assert_array_equal(state["bn_conv1.weight"], blobs["scale_conv1"][0])
    np.testing.assert_array_equal(state["lone_scale.weight"], blobs["lone_scale"][0])
    assert state["fc1000.weight"].shape == (9, 8)
    assert len(state) == len(list(state)) == len(set(state))


def test_the_old_form_of_weights_has_matrices_and_vectors():
    """Shapes of four axes become those of their layers."""
    state = caffe.caffe_state(FILES / "v1.caffemodel")

    assert {key: array.shape for key, array in state.items()} == {
        "conv1.weight": (4, 3, 3, 3), "conv1.bias": (4,), "fc8.weight": (5, 64), "fc8.bias": (5,),
    }  # fmt: skip


def test_a_mean_image_becomes_one_number_a_channel():
    """The file's numbers are those that Caffe wrote; the provenance says what became of them."""
    with np.load(FILES / "outputs.npz") as arrays:
        wanted = arrays["mean"]

    image = caffe.read_mean(FILES / "mean.binaryproto")
    model = network("v1", mean=FILES / "mean.binaryproto", labels=list("abcde"))

    np.testing.assert_array_equal(image, wanted)
    np.testing.assert_allclose(model.preprocess.mean, wanted.mean(axis=(1, 2)), rtol=1e-6)
    assert model.preprocess.channels == "bgr"
    assert "mean image [3, 6, 5]" in model.provenance["mean"]
    assert model.labels == ("a", "b", "c", "d", "e")


def test_one_of_several_outputs_is_chosen(tmp_path):
    """Without a choice all are named; with one, layers that it does not need are not looked at."""
    text = (FILES / "v1.prototxt").read_text()
    text += (
        'layers { name: "aux" type: INNER_PRODUCT bottom: "pool1" top: "aux" inner_product_param { num_output: 2 } }'
    )
    path = written(tmp_path, text)

    with pytest.raises(FormatError, match=r"2 outputs \(prob, aux\); say which"):
        caffe.read(path, FILES / "v1.caffemodel")
    assert caffe.read(path, FILES / "v1.caffemodel", output="prob").num_classes == 5


def test_all_unknown_layers_are_named_at_once(tmp_path):
    """With their types, before any weight is read."""
    text = INPUT + "".join(
        f'layer {{ name: "{name}" type: "{kind}" bottom: "data" top: "data" }}'
        for name, kind in (("mine", "Python"), ("fine", "ReLU"), ("boxes", "PriorBox"))
    )

    with pytest.raises(FormatError, match=r"no form here of layer 'mine' \(Python\), layer 'boxes' \(PriorBox\)"):
        caffe.read(written(tmp_path, text), FILES / "v1.caffemodel")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("num_output: 5", "num_output: 6"), r"layer 'fc8' \(InnerProduct\): its weights are \[5, 64\]"),
        (('"conv1" type', '"conv9" type'), "weights file has no layer of this name"),
        (("kernel_size: 3 ", "kernel_size: 3 strid: 2 "), "strid is unknown here"),
        (('bottom: "data"', 'bottom: "date"'), "blob 'date' is read, but no layer before makes it"),
        (("input_dim: 9 input_dim: 9", "input_dim: 9"), "wanted images"),
        (("pool: MAX", "pool: STOCHASTIC"), "stochastic"),
        (("local_size: 3", "local_size: 4"), "wanted an odd number"),
        (('input: "data"', ""), "0 inputs, but the sizes of 1"),
        (("type: SOFTMAX", "type: SOFTMAXX"), "'SOFTMAXX'.*did you mean 'SOFTMAX'"),
        (("layers {", "layers { layer { } "), "upgrade_net_proto_text"),
        (("{ num_output: 5", "{ num_output: five"), "num_output is 'five', wanted a whole number"),
    ],
)
def test_a_definition_that_does_not_fit_says_where(tmp_path, change, message):
    """Each with the layer or the field, what was found and what was wanted."""
    text = (FILES / "v1.prototxt").read_text()
    assert change[0] in text

    with pytest.raises(EdgeError, match=message):
        caffe.read(written(tmp_path, text.replace(*change, 1)), FILES / "v1.caffemodel")


def test_weights_must_be_given():
    """A definition alone makes no Model."""
    with pytest.raises(UsageError, match=r"give the \.caffemodel"):
        caffe.read(FILES / "v1.prototxt")


def test_the_text_format_is_read_as_protocol_buffers_write_it():
    """Comments, lists, both brackets, strings in parts, escapes, separators, numbers of all forms."""
    message = parse(
        """# first
        name: 'a\\x41' "\\101\\n" ; dims: [1, 0x10], dims: 3
        inner < flag: true number: -1.5e1f > inner { word: MAX }""",
        "text",
    )

    assert message.text("name") == "aAA\n"
    assert message.integers("dims") == [1, 16, 3]
    first, second = message.messages("inner")
    assert (first.flag("flag", default=False), first.number("number", 0.0)) == (True, -15.0)
    assert second.choice("word", ("MAX", "AVE"), "AVE") == "MAX"


@pytest.mark.parametrize("text", ["a {", "a: }", "a: [1", ": 1", "a: 'x", "a {" * 40 + "}" * 40, "a: \x00", "a: 1 }"])
def test_damaged_text_is_refused_with_its_line(text):
    """Never another exception."""
    with pytest.raises(FormatError, match="file: line 1: "):
        parse(text, "file")


def test_rules_of_phases():
    """Layers follow include and exclude as Caffe's Net::FilterNet has them for phase TEST, level 0, no stages."""
    rules = {
        "include { phase: TRAIN }": False,
        "include { phase: TRAIN } include { phase: TEST }": True,
        "exclude { phase: TEST }": False,
        "exclude { phase: TRAIN }": True,
        "include { min_level: 1 }": False,
        "include { stage: 'deploy' }": False,
        "include { not_stage: 'deploy' }": True,
        "": True,
    }
    text = INPUT + 'layer { name: "last" type: "ReLU" bottom: "data" top: "data" }'
    for index, rule in enumerate(rules):
        text += f'layer {{ name: "{index}" type: "ReLU" bottom: "data" top: "data" {rule} }}'

    kept = {layer.name for layer in read_network(text, "net").layers}

    assert kept == {"last", *(str(index) for index, wanted in enumerate(rules.values()) if wanted)}
