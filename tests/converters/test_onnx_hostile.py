"""Whatever is done to an ONNX file, reading it ends in a model or in an error about the file, within bounds."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from edge_sdk.errors import EdgeError, FormatError

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edge_sdk.converters.onnx import read  # noqa: E402

FILES = sorted((Path(__file__).parent / "files").glob("*.onnx"))
COMPUTED_BYTES = 8 << 20
# Beside four times the file: what the file may compute, and what Python needs for nodes and messages.
SMALL = COMPUTED_BYTES + (16 << 20)
EXTREMES = (-1, 0, 1, 2, 7, 1 << 20, 1 << 31, (1 << 63) - 1, -(1 << 63))


def outcome(path: Path) -> str:
    """Read a file within the bounds on memory; returns what became of it."""
    tracemalloc.start()
    try:
        read(path, computed_bytes=COMPUTED_BYTES)
    except EdgeError:
        return "error"
    else:
        return "model"
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= 4 * path.stat().st_size + SMALL, f"{peak} bytes for a file of {path.stat().st_size}"


def changed_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Flipped bits, a cut, a repeated piece, extreme bytes, or a piece of zeros."""
    data = bytearray(content)
    kind = rng.integers(0, 5)
    place = int(rng.integers(0, len(data)))
    if kind == 0:
        for _ in range(int(rng.integers(1, 20))):
            data[int(rng.integers(0, len(data)))] ^= 1 << int(rng.integers(0, 8))
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        data[place:place] = data[place : place + int(rng.integers(1, 2000))]
    elif kind == 3:
        data[place : place + 5] = b"\xff\xff\xff\xff\x7f"
    else:
        data[place : place + 40] = bytes(40)
    return bytes(data)


def changed_model(content: bytes, rng: np.random.Generator) -> bytes:  # noqa: C901 - a list of lies
    """One to three lies in what the messages say: sizes, attributes, types, names, operators, order."""
    model = onnx.ModelProto.FromString(content)
    graph = model.graph

    def one(items):
        return items[int(rng.integers(0, len(items)))] if len(items) else None

    for _ in range(int(rng.integers(1, 4))):
        kind = rng.integers(0, 10)
        node, tensor = one(graph.node), one(graph.initializer)
        extreme = int(rng.choice(EXTREMES))
        attribute = one(node.attribute) if node is not None else None
        if kind == 0 and tensor is not None and tensor.dims:
            tensor.dims[int(rng.integers(0, len(tensor.dims)))] = extreme
        elif kind == 1 and tensor is not None:
            tensor.data_type = int(rng.integers(0, 26))
        elif kind == 2 and attribute is not None and attribute.ints:
            attribute.ints[int(rng.integers(0, len(attribute.ints)))] = extreme
        elif kind == 3 and attribute is not None:
            attribute.i, attribute.f, attribute.type = extreme, float(extreme), int(rng.integers(0, 15))
        elif kind == 4 and node is not None and node.input:
            node.input[int(rng.integers(0, len(node.input)))] = one(graph.node).output[0]
        elif kind == 5 and node is not None:
            node.op_type = (
                one(graph.node).op_type if rng.integers(0, 2) else str(rng.choice(["Expand", "Tile", "Range"]))
            )
        elif kind == 6:
            graph.node.insert(int(rng.integers(0, len(graph.node))), one(graph.node))
        elif kind == 7 and graph.node:
            del graph.node[int(rng.integers(0, len(graph.node)))]
        elif kind == 8:
            dims = graph.input[0].type.tensor_type.shape.dim
            one(dims).dim_value = max(min(extreme, (1 << 62)), -(1 << 62))
        elif tensor is not None and tensor.data_type == TensorProto.INT64 and tensor.raw_data:
            numbers = np.frombuffer(tensor.raw_data, "<i8").copy()
            numbers[int(rng.integers(0, len(numbers)))] = extreme
            tensor.raw_data = numbers.tobytes()
    return model.SerializeToString()


@pytest.mark.parametrize("change", [changed_bytes, changed_model])
def test_five_hundred_damaged_files_end_in_a_model_or_an_error(change, tmp_path):
    """No crash, no hang, no memory beyond four times the file and a small constant."""
    rng = np.random.default_rng(20)
    contents = [path.read_bytes() for path in FILES]
    path = tmp_path / "damaged.onnx"
    outcomes = []

    for number in range(500):
        path.write_bytes(change(contents[number % len(contents)], rng))
        outcomes.append(outcome(path))

    assert outcomes.count("error") > 100
    assert outcomes.count("model") > 10


def bomb(nodes, tensors):
    """A file of a photo network that computes something huge."""
    graph = helper.make_graph(
        [*nodes, helper.make_node("Mul", ["x", "big"], ["y"])],
        "bomb",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(array, name) for name, array in tensors],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


LARGE = np.array([1 << 16, 1 << 16])
BOMBS = {
    "constant-of-shape": ([helper.make_node("ConstantOfShape", ["s"], ["big"])], [("s", LARGE)]),
    "expand": (
        [helper.make_node("Expand", ["o", "s"], ["e"]), helper.make_node("Neg", ["e"], ["big"])],
        [("s", LARGE), ("o", np.ones(1, np.float32))],
    ),
    "tile": (
        [helper.make_node("Tile", ["o", "s"], ["big"])],
        [("s", np.array([1 << 20, 1 << 12])), ("o", np.ones((1, 1), np.float32))],
    ),
    "range": (
        [helper.make_node("Range", ["a", "b", "c"], ["big"])],
        [("a", np.float32(0)), ("b", np.float32(1e12)), ("c", np.float32(1))],
    ),
    "pad": (
        [helper.make_node("Pad", ["o", "p"], ["big"])],
        [("o", np.ones((1, 1), np.float32)), ("p", np.array([0, 0, 1 << 20, 1 << 20]))],
    ),
    "one-hot": (
        [helper.make_node("OneHot", ["i", "d", "v"], ["big"])],
        [("i", np.arange(4096)), ("d", np.array(1 << 23)), ("v", np.array([0, 1], np.float32))],
    ),
    "outer-product": (
        [helper.make_node("ConstantOfShape", ["s"], ["a"]), helper.make_node("MatMul", ["a", "b"], ["big"]),
         helper.make_node("ConstantOfShape", ["t"], ["b"])][::1],
        [("s", np.array([1 << 20, 1])), ("t", np.array([1, 1 << 20]))],
    ),
    "resize": (
        [helper.make_node("Resize", ["o", "", "f"], ["big"], mode="cubic")],
        [("o", np.ones((1, 1, 2, 2), np.float32)), ("f", np.array([1, 1, 1e6, 1e6], np.float32))],
    ),
    "trilu": (
        [helper.make_node("ConstantOfShape", ["s"], ["a"]), helper.make_node("Trilu", ["a"], ["big"])],
        [("s", LARGE // 2)],
    ),
    "reshaped-again-and-again": (
        [helper.make_node("ConstantOfShape", ["s"], ["a0"]),
         *(helper.make_node("Reshape", [f"a{i}", "s" if i % 2 else "t"], [f"a{i + 1}"]) for i in range(40)),
         helper.make_node("Neg", ["a40"], ["big"])],
        [("s", np.array([1 << 10, 1 << 9])), ("t", np.array([1 << 9, 1 << 10]))],
    ),
    "wide-pool": (
        [helper.make_node("AveragePool", ["x"], ["big"], kernel_shape=[1 << 18, 1], pads=[1 << 18, 0, 1 << 18, 0],
                          dilations=[2, 1])],
        [],
    ),
    "convolution-of-constants": (
        [helper.make_node("ConstantOfShape", ["s"], ["a"]), helper.make_node("Conv", ["a", "k"], ["big"])],
        [("s", np.array([1, 1, 1000, 1000])), ("k", np.ones((1, 1, 3, 3), np.float32))],
    ),
    "eye": (
        [helper.make_node("ConstantOfShape", ["s"], ["a"]), helper.make_node("EyeLike", ["a"], ["big"])],
        [("s", LARGE // 2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_what_a_file_computes_is_bounded(name, tmp_path):
    """A few bytes that ask for gigabytes are refused before memory is taken."""
    nodes, tensors = BOMBS[name]
    path = tmp_path / "bomb.onnx"
    path.write_bytes(bomb(nodes, tensors))

    assert outcome(path) == "error"


def test_deep_nesting_is_refused(tmp_path):
    """Branches inside of branches: an error, not an exhausted stack."""
    yes = numpy_helper.from_array(np.array(1, bool), "yes")
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["out"])], "leaf", [], [output])
    for depth in range(24):
        node = helper.make_node("If", ["yes"], ["out"], then_branch=branch, else_branch=branch if depth == 0 else None)
        branch = helper.make_graph([node], f"level{depth}", [], [output])
    graph = helper.make_graph(
        branch.node, "deep", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])], [output], [yes]
    )
    path = tmp_path / "deep.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())

    with pytest.raises(FormatError, match="deep"):
        read(path)


def test_a_function_that_calls_itself_is_refused(tmp_path):
    """A recursion without end, each call twice as wide."""
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    body = [
        helper.make_node("Twice", ["a"], ["m"], domain="own"),
        helper.make_node("Twice", ["m"], ["b"], domain="own"),
    ]
    function = helper.make_function("own", "Twice", ["a"], ["b"], body, opset)
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="own")],
        "endless",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
    )
    path = tmp_path / "endless.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opset, functions=[function]).SerializeToString())

    with pytest.raises(FormatError, match="deep"):
        read(path)
