"""ONNX files become Models: files by PyTorch's exporters and onnxruntime, and small ones made here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edge_sdk as edge
from edge_sdk.errors import FormatError, MissingExtraError, UsageError

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edge_sdk.converters.onnx import read, read_graph  # noqa: E402

FILES = Path(__file__).parent / "files"
STORED = json.loads((FILES / "onnx_outputs.json").read_text(encoding="utf-8"))
FLOAT_FILES = [name for name in STORED["outputs"] if "qdq" not in name]
# What the network itself moves: the channels that Shuffle shuffles. Before opset 21 the exporters write its group
# normalisation as a reshape of whole groups, which must lie together.
TRANSPOSES = {"shuffle-dynamo-21.onnx": 1, **dict.fromkeys(("shuffle-script-13.onnx", "shuffle-script-17.onnx"), 3)}
TRANSPOSES["shuffle-dynamo-18.onnx"] = 3


def images():
    """The input of the stored outputs, channels last."""
    shape = STORED["shape"]
    count = np.arange(int(np.prod(shape)))
    values = np.sin(count.astype(np.float64) * 0.37 + count**2 * 1e-4).astype(np.float32)
    return np.ascontiguousarray(values.reshape(shape).transpose(0, 2, 3, 1))


def softmax(logits):
    """Probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def transposes(model):
    """How many transposes are left in the graph that is executed and exported."""
    return sum(node.op.name == "transpose" for node in model.inference[0].nodes)


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_files_by_pytorch_give_the_outputs_of_onnxruntime(name):
    """Both exporters, opsets 13 to 21: equal to 1e-5 of the largest, with no transpose but the network's own."""
    wanted = np.array(STORED["outputs"][name])

    model = read(FILES / name)

    scores = model.run(images())
    scores = softmax(scores) if name.startswith("plain") else scores
    assert np.abs(scores - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert transposes(model) == TRANSPOSES.get(name, 0)


@pytest.mark.parametrize(
    ("name", "operator"), [("shuffle-script-17.onnx", "gelu"), ("mobile-script-13.onnx", "hard_swish")]
)
def test_activations_that_were_written_out_are_recognised(name, operator):
    """What the exporter made of products, sums and erf, or of a hard sigmoid, is one operator again."""
    names = [node.op.name for node in read(FILES / name).graph.nodes]

    assert operator in names
    assert "apply" not in names


@pytest.mark.parametrize("divide_first", [True, False])
def test_a_hard_swish_of_older_exporters_is_recognised(divide_first, tmp_path):
    """As x · relu6(x + 3) / 6, the division before or behind the product."""
    tail = [
        helper.make_node("Div", ["r", "six"], ["d"]), helper.make_node("Mul", ["x", "d"], ["h"]),
    ] if divide_first else [
        helper.make_node("Mul", ["x", "r"], ["d"]), helper.make_node("Div", ["d", "six"], ["h"]),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Add", ["x", "three"], ["s"]),
        helper.make_node("Clip", ["s", "zero", "six"], ["r"]),
        *tail,
        helper.make_node("GlobalAveragePool", ["h"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    weights = [(name, np.array(v, np.float32)) for name, v in (("zero", 0), ("three", 3), ("six", 6))]

    model = read(saved(network(nodes, ["n", 3, 4, 4], ["n", 3], weights), tmp_path))

    assert [node.op.name for node in model.graph.nodes] == ["hard_swish", "global_avg_pool"]


def test_a_quantized_file_keeps_its_rounding():
    """It rounds to 8 bits where the file does; onnxruntime's own kernels may be one step of 255 away."""
    wanted = np.array(STORED["outputs"]["plain-script-13-qdq.onnx"])

    model = read(FILES / "plain-script-13-qdq.onnx")

    rounding = [node.op.name for node in model.inference[0].nodes if "quantize" in node.op.name]
    assert rounding.count("quantize") == rounding.count("dequantize") > 5
    assert np.abs(softmax(model.run(images())) - wanted).max() <= 1.5 / 255


@pytest.mark.parametrize(
    ("name", "small"),
    [("residual-dynamo-18.onnx", "int8"), ("residual-script-13.onnx", "int8"), ("mobile-dynamo-18.onnx", "fp16")],
)
def test_a_read_file_is_saved_and_exported(name, small, tmp_path):
    """The same scores from the .edge file; the .tflite files agree in the mobile runtime and have no transpose."""
    model = read(FILES / name)
    photos = np.random.default_rng(3).integers(0, 256, (12, 32, 40, 3), np.uint8)
    inputs = model.preprocess.normalise(photos)
    calibrate = photos if small == "int8" else None

    model.save(tmp_path / "model.edge")
    report = edge.export(model, tmp_path / "model.tflite", check=photos)
    smaller = edge.export(model, tmp_path / "small.tflite", quantize=small, calibrate=calibrate, check=photos)

    assert np.array_equal(edge.load(tmp_path / "model.edge").run(inputs), model.run(inputs))
    assert report.relative_difference < 1e-4
    assert "TRANSPOSE" not in {**report.operators, **smaller.operators}
    assert (tmp_path / "small.tflite").stat().st_size < (tmp_path / "model.tflite").stat().st_size


@pytest.mark.parametrize("name", ["residual-script-17.onnx", "mobile-dynamo-18.onnx"])
def test_a_read_file_is_fine_tuned(name):
    """Batch norms are whole, every operator has a gradient, and a few steps make the loss smaller."""
    model = read(FILES / name)
    dark, bright = (np.full((4, 32, 40, 3), grey, np.uint8) for grey in (30, 220))
    pixels = model.preprocess.normalise(np.concatenate([dark, bright]))
    feeds = {"image": pixels, "label": np.repeat(np.arange(2, dtype=np.int32), 4)}
    step = edge.training_session(model, batch=8, learning_rate=0.05)

    losses = [float(step.run(feeds)["loss"]) for _ in range(20)]

    assert losses[-1] < 0.5 * losses[0]


def test_importing_the_reader_does_not_import_the_package():
    """It is loaded when a file is read."""
    code = "import sys, edge_sdk.converters.onnx; sys.exit('onnx' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_package_opens_onnx_files_as_any_model():
    """`edge_sdk.load` reads one by its ending."""
    opened = edge.load(FILES / "residual-script-17.onnx")

    assert np.array_equal(opened.run(images()), read(FILES / "residual-script-17.onnx").run(images()))


def test_photos_labels_and_the_head_are_the_callers():
    """Preprocessing and labels travel with the model; the last layer can be trained alone."""
    preprocess = edge.Preprocess((32, 40), mean=(127.5,) * 3, std=(127.5,) * 3)
    labels = tuple("abcdefg")

    model = read(FILES / "mobile-script-17.onnx", preprocess=preprocess, labels=labels)

    assert (model.labels, model.preprocess) == (labels, preprocess)
    assert {"head.weight", "head.bias"} <= set(model.graph.params)
    assert model.provenance["format"] == "onnx"
    assert "pytorch" in model.provenance["producer"]


def network(nodes, shape, outputs, weights=(), opset=13, output="y"):
    """A model of float32 with one input x and one output."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, outputs)],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def saved(model, folder, name="net.onnx"):
    """Write a model."""
    (folder / name).write_bytes(model.SerializeToString())
    return folder / name


def test_a_batch_of_one_is_opened(tmp_path):
    """A file that says batch 1, also in its reshapes, takes any number of photos."""
    weight = np.random.default_rng(0).standard_normal((5, 2 * 3 * 4)).astype(np.float32)
    kernel = np.random.default_rng(1).standard_normal((2, 3, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        helper.make_node("Reshape", ["c", "s"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"], transB=1),
    ]
    weights = [("k", kernel), ("w", weight), ("s", np.array([1, -1]))]
    photos = np.random.default_rng(2).standard_normal((3, 3, 4, 3)).astype(np.float32)

    model = read(saved(network(nodes, [1, 3, 3, 4], [1, 5], weights), tmp_path))

    convolved = np.einsum("nhwc,kc->nkhw", photos, kernel[:, :, 0, 0])
    assert np.allclose(model.run(photos), convolved.reshape(3, -1) @ weight.T, atol=1e-5)
    assert transposes(model) == 0


def test_an_open_size_is_the_preprocessings(tmp_path):
    """A file for photos of any size is read for the one that they are brought to; without one it is refused."""
    kernel = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    path = saved(network(nodes, ["n", 3, "h", "w"], ["n", 4], [("k", kernel)]), tmp_path)

    model = read(path, preprocess=edge.Preprocess((8, 6)))

    assert model.graph.specs["image"].shape == (-1, 8, 6, 3)
    with pytest.raises(FormatError, match="Preprocess"):
        read(path)


def test_all_operators_that_are_not_read_are_named_at_once(tmp_path):
    """The error lists each with the name of its node, and of what depends on it says nothing."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["a"], name="warp"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Det", ["x"], ["y"], name="volume"),
    ]

    with pytest.raises(FormatError, match=r"NonZero \(node 'warp'\); Det \(node 'volume'\)") as caught:
        read(saved(network(nodes, ["n", 3, 4, 4], ["n", 3]), tmp_path))

    assert "Relu" not in str(caught.value)


def test_what_is_no_classifier_is_refused(tmp_path):
    """An input of the wrong rank, and an output that does not depend on the input."""
    flat = network([helper.make_node("Relu", ["x"], ["y"])], ["n", 3], ["n", 3])
    still = network([helper.make_node("Identity", ["w"], ["y"])], ["n", 3, 4, 4], [2], [("w", np.ones(2, np.float32))])

    with pytest.raises(FormatError, match="wanted photos"):
        read(saved(flat, tmp_path))
    with pytest.raises(FormatError, match="does not depend on its input"):
        read(saved(still, tmp_path))


def test_layouts_agree_where_branches_meet():
    """Images and constants of lower rank meet in one layout; flattening, squeezing and joining move nothing."""
    rng = np.random.default_rng(4)
    kernel = rng.standard_normal((4, 3, 1, 1)).astype(np.float32)
    offset = rng.standard_normal((4, 1, 5)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        helper.make_node("Add", ["c", "o"], ["d"]),
        helper.make_node("ReduceMax", ["d"], ["m"], axes=[3], keepdims=0),
        helper.make_node("Concat", ["d", "c"], ["j"], axis=2),
        helper.make_node("ReduceSum", ["j", "a"], ["r"], keepdims=0),
        helper.make_node("Sub", ["r", "m2"], ["y"]),
        helper.make_node("ReduceMax", ["m"], ["m2"], axes=[2], keepdims=0),
    ]
    nodes = [*nodes[:5], nodes[6], nodes[5]]
    weights = [("k", kernel), ("o", offset), ("a", np.array([2, 3]))]
    x = rng.standard_normal((2, 3, 6, 5)).astype(np.float32)

    found = read_graph(network(nodes, [2, 3, 6, 5], [2, 4], weights))

    c = np.einsum("nchw,kc->nkhw", x, kernel[:, :, 0, 0])
    d = c + offset
    wanted = np.concatenate([d, c], 2).sum((2, 3)) - d.max((2, 3))
    feeds = {"x": np.ascontiguousarray(found.inputs["x"].layout.hold(x))}
    (y,) = edge.Session(found.graph, found.workspace).run(feeds).values()
    assert np.allclose(found.outputs["y"].layout.release(y), wanted, atol=1e-4)
    assert all(node.op.name != "transpose" for node in found.graph.nodes)


def test_dynamically_quantized_networks_run_on_the_processor(tmp_path):
    """What `quantize_dynamic` writes, ConvInteger and MatMulInteger, gives the numbers of whole-number arithmetic."""
    rng = np.random.default_rng(3)
    kernel, weight = (rng.integers(-100, 100, shape).astype(np.int8) for shape in ((4, 3, 3, 3), (4, 5)))
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "q_scale", "q_zero"]),
        helper.make_node("ConvInteger", ["q", "k", "q_zero", "k_zero"], ["c"]),
        helper.make_node("Cast", ["c"], ["cf"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["cf"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("DynamicQuantizeLinear", ["f"], ["r", "r_scale", "r_zero"]),
        helper.make_node("MatMulInteger", ["r", "w", "r_zero", "w_zero"], ["m"]),
        helper.make_node("Cast", ["m"], ["y"], to=TensorProto.FLOAT),
    ]
    weights = [("k", kernel), ("k_zero", np.int8(3)), ("w", weight), ("w_zero", np.int8(-2))]
    photos = rng.standard_normal((1, 8, 9, 3)).astype(np.float32)

    model = read(saved(network(nodes, [1, 3, 8, 9], [1, 5], weights), tmp_path))

    def stored(x):
        scale = (max(x.max(), 0) - min(x.min(), 0)) / 255
        return np.rint(x / scale).astype(np.int64)  # the zero point is added, and taken off again

    q = np.lib.stride_tricks.sliding_window_view(stored(photos[0]), (3, 3), (0, 1))
    c = np.einsum("pqcrs,kcrs->kpq", q, kernel.astype(np.int64) - 3)
    wanted = stored(c.mean((1, 2), dtype=np.float32)) @ (weight.astype(np.int64) + 2)
    assert model.run(photos).tolist() == [wanted.tolist()]


def external(folder, location, size=48, offset=0, length=48):
    """A model whose weights lie in another file."""
    model = network([helper.make_node("MatMul", ["x", "w"], ["y"])], ["n", 3, 4, 4], ["n", 3, 4, 3])
    tensor = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[4, 3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "weights.bin").write_bytes(np.arange(size // 4, dtype="<f4").tobytes())
    (folder / "outside.bin").write_bytes(bytes(48))
    return model, folder / "model"


def test_weights_beside_the_file_are_found(tmp_path):
    """Data in another file of the folder."""
    model, folder = external(tmp_path, "weights.bin")

    found = read_graph(model, folder=folder)

    assert any(np.array_equal(np.sort(array.ravel()), np.arange(12)) for array in found.workspace.values())


@pytest.mark.parametrize(
    ("location", "offset", "length", "message"),
    [
        ("../outside.bin", 0, 48, "outside of the model's folder"),
        ("/etc/passwd", 0, 48, "outside of the model's folder"),
        ("weights.bin", 8, 48, "48 bytes at 8"),
        ("weights.bin", 0, 1 << 40, "of 'weights.bin', which has 48"),
        ("weights.bin", -4, 48, "bytes at -4"),
        ("absent.bin", 0, 48, "cannot be read"),
        (".", 0, 48, "'.' is no file"),
        ("weights\0bin", 0, 48, "cannot be read: embedded null byte"),
        ("w" * 5000, 0, 48, "cannot be read"),
    ],
)
def test_lies_about_weights_beside_the_file_are_refused(tmp_path, location, offset, length, message):
    """Paths that leave the folder, and sizes that are not the file's."""
    model, folder = external(tmp_path, location, offset=offset, length=length)

    with pytest.raises(FormatError, match=message):
        read_graph(model, folder=folder)


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "onnx", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'edge-sdk\[onnx\]'"):
        read(tmp_path / "any.onnx")


def test_an_absent_file_is_the_callers_mistake(tmp_path):
    """It is named."""
    with pytest.raises(UsageError, match=r"absent\.onnx"):
        read(tmp_path / "absent.onnx")
