"""Operators and patterns that edge-sdk does not write itself, as other converters do: against the mobile runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tiny_models import SIDE, tiny_model

from edge_sdk.builder import Builder
from edge_sdk.converters.tflite import options as o
from edge_sdk.converters.tflite import read, read_graph
from edge_sdk.converters.tflite.flatfile import OMITTED, FlatModel
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.schema import Builtin, FusedActivation, Options, Padding, TensorType
from edge_sdk.converters.tflite.writer import write
from edge_sdk.errors import FormatError
from edge_sdk.ops.elementwise import Mul
from edge_sdk.ops.shape import Transpose
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

X = "x"
"""Stands for the file's input among an operator's inputs."""
EXAMPLES = 3


@dataclass(frozen=True)
class Use:
    """One use of an operator: its inputs are `X` or constants, the batch of input and outputs is open."""

    name: str
    code: Builtin
    shape: tuple[int, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[tuple[int, ...], ...]
    options: Options | None = None
    version: int = 1

    def __str__(self) -> str:
        return self.name

    def file(self) -> bytes:
        """The file of this operator alone."""
        model = FlatModel()
        main = model.subgraph("main")
        x = main.tensor("x", (-1, *self.shape), "float32")
        inputs = [
            x if isinstance(value, str) else main.constant(f"c{i}", np.asarray(value))
            for i, value in enumerate(self.inputs)
        ]
        outputs = [main.tensor(f"y{i}", (-1, *shape), "float32") for i, shape in enumerate(self.outputs)]
        main.operator(self.code, inputs, outputs, self.options, self.version)
        main.inputs, main.outputs = (x,), tuple(outputs)
        return model.to_bytes()


def floats(*shape: int) -> np.ndarray:
    """Seeded normal numbers."""
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    """Whole numbers as files have them."""
    return np.array(numbers, np.int32)


IMAGE = (6, 8, 4)
USES = [
    Use("square", Builtin.SQUARE, IMAGE, (X,), (IMAGE,), o.SquareOptions()),
    Use("rsqrt", Builtin.RSQRT, IMAGE, (X,), (IMAGE,)),
    Use("squared difference", Builtin.SQUARED_DIFFERENCE, IMAGE, (X, floats(4)), (IMAGE,)),
    Use("power of 2", Builtin.POW, IMAGE, (X, np.float32(2)), (IMAGE,)),
    Use("power of a half", Builtin.POW, IMAGE, (X, np.float32(0.5)), (IMAGE,)),
    Use("relu from -1 to 1", Builtin.RELU_N1_TO_1, IMAGE, (X,), (IMAGE,)),
    Use("relu from 0 to 1", Builtin.RELU_0_TO_1, IMAGE, (X,), (IMAGE,)),
    Use("reduce min", Builtin.REDUCE_MIN, IMAGE, (X, whole(1, -2)), ((4,),), o.ReducerOptions()),
    Use("mean, axes from the end", Builtin.MEAN, IMAGE, (X, whole(-3, -2)), ((4,),), o.ReducerOptions()),
    Use("squeeze", Builtin.SQUEEZE, (1, 1, 4), (X,), ((4,),), o.SqueezeOptions((1, 2))),
    Use("squeeze from the end", Builtin.SQUEEZE, (1, 1, 4), (X,), ((4,),), o.SqueezeOptions((-2, -3))),
    Use("expand dims", Builtin.EXPAND_DIMS, (5, 4), (X, np.int32(-2)), ((5, 1, 4),), o.ExpandDimsOptions()),
    Use("pack", Builtin.PACK, (5, 4), (X, X), ((5, 2, 4),), o.PackOptions(2, 2)),
    Use("unpack", Builtin.UNPACK, (2, 4), (X,), ((4,), (4,)), o.UnpackOptions(2, 1)),
    Use("tile", Builtin.TILE, (2, 4), (X, whole(1, 3, 2)), ((6, 8),)),
    Use(
        "split, a rest", Builtin.SPLIT_V, (2, 7), (X, whole(2, -1), np.int32(-1)), ((2, 2), (2, 5)), o.SplitVOptions(2)
    ),
    Use(
        "strided slice",
        Builtin.STRIDED_SLICE,
        IMAGE,
        (X, whole(0, 1, -1, 0), whole(0, 6, 0, 3), whole(1, 2, -3, 1)),
        ((3, 3, 3),),
        o.StridedSliceOptions(begin_mask=1, end_mask=1),
    ),
    Use(
        "strided slice that drops an axis",
        Builtin.STRIDED_SLICE,
        IMAGE,
        (X, whole(0, 2, 0, 0), whole(0, 3, 0, 0), whole(1, 1, 1, 1)),
        ((8, 4),),
        o.StridedSliceOptions(begin_mask=0b1101, end_mask=0b1101, shrink_axis_mask=0b10),
    ),
    Use(
        "mirror pad, reflected",
        Builtin.MIRROR_PAD,
        IMAGE,
        (X, whole(0, 0, 2, 1, 0, 3, 0, 0).reshape(4, 2)),
        ((9, 11, 4),),
        o.MirrorPadOptions(0),
    ),
    Use(
        "mirror pad, symmetric",
        Builtin.MIRROR_PAD,
        IMAGE,
        (X, whole(0, 0, 2, 6, 1, 0, 0, 0).reshape(4, 2)),
        ((14, 9, 4),),
        o.MirrorPadOptions(1),
    ),
    Use("space to depth", Builtin.SPACE_TO_DEPTH, IMAGE, (X,), ((3, 4, 16),), o.SpaceToDepthOptions(2)),
    Use("depth to space", Builtin.DEPTH_TO_SPACE, IMAGE, (X,), ((12, 16, 1),), o.DepthToSpaceOptions(2)),
    Use("prelu, a slope a pixel", Builtin.PRELU, IMAGE, (X, floats(1, 6, 8, 4)), (IMAGE,)),
    Use("prelu, one slope", Builtin.PRELU, IMAGE, (X, floats(1, 1, 1)), (IMAGE,)),
    Use("softmax, beta", Builtin.SOFTMAX, (9,), (X,), ((9,),), o.SoftmaxOptions(beta=2.0)),
    *(
        Use(f"{code.name} and {fused.name}", code, IMAGE, (X, floats(4)), (IMAGE,), kind(fused))
        for code, kind in ((Builtin.ADD, o.AddOptions), (Builtin.MUL, o.MulOptions), (Builtin.SUB, o.SubOptions))
        for fused in (FusedActivation.RELU, FusedActivation.RELU_N1_TO_1, FusedActivation.RELU6)
    ),
    Use(
        "pool and relu",
        Builtin.AVERAGE_POOL_2D,
        IMAGE,
        (X,),
        ((3, 4, 4),),
        o.Pool2DOptions(Padding.SAME, 2, 2, 3, 3, FusedActivation.RELU),
    ),
    Use(
        "convolution in groups",
        Builtin.CONV_2D,
        IMAGE,
        (X, floats(6, 3, 3, 2), floats(6)),
        ((6, 8, 6),),
        o.Conv2DOptions(Padding.SAME, 1, 1, FusedActivation.RELU_N1_TO_1),
        version=6,
    ),
    Use(
        "dense layer of images",
        Builtin.FULLY_CONNECTED,
        (1, 1, 4),
        (X, floats(5, 4), floats(5)),
        ((5,),),
        o.FullyConnectedOptions(FusedActivation.RELU),
    ),
    Use(
        "dense layer of every pixel",
        Builtin.FULLY_CONNECTED,
        IMAGE,
        (X, floats(5, 4), floats(5)),
        ((6, 8, 5),),
        o.FullyConnectedOptions(FusedActivation.RELU6, keep_num_dims=True),
        version=5,
    ),
    Use(
        "transposed convolution and relu",
        Builtin.TRANSPOSE_CONV,
        IMAGE,
        (whole(EXAMPLES, 12, 16, 2), floats(2, 3, 3, 4), X),
        ((12, 16, 2),),
        o.TransposeConvOptions(Padding.SAME, 2, 2, FusedActivation.RELU),
        version=4,
    ),
]


def assert_equal_outputs(data: bytes, path, fed: np.ndarray) -> None:
    """The graph read from a file computes what the runtime does."""
    path.write_bytes(data)
    runtime = TFLiteModel(data)
    wanted = runtime.invoke({runtime.inputs[0].name: fed})

    graph, weights = read_graph(path)

    found = Session(graph, weights, "reference", batch=len(fed)).run({graph.inputs[0]: fed})
    assert len(found) == len(wanted)
    for ours, theirs in zip(found.values(), wanted.values(), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("use", USES, ids=str)
def test_an_operator_of_other_converters(use, tmp_path):
    """Read as one or several of the SDK's operators, for another batch than the file was written for."""
    fed = (
        np.abs(floats(EXAMPLES, *use.shape))
        if use.code in (Builtin.POW, Builtin.RSQRT)
        else floats(EXAMPLES, *use.shape)
    )

    assert_equal_outputs(use.file(), tmp_path / "use.tflite", fed)


def test_a_shape_that_is_computed_as_the_file_runs(tmp_path):
    """TensorFlow's way to flatten: SHAPE, STRIDED_SLICE of the batch, PACK with what follows, RESHAPE."""
    model = FlatModel()
    main = model.subgraph("main")
    x, y = main.tensor("x", (-1, 2, 3, 4), "float32"), main.tensor("y", (-1, 24), "float32")
    shape, batch, packed = (main.tensor(name, size, "int32") for name, size in (("s", (4,)), ("b", ()), ("p", (2,))))
    begin, end, step = (main.constant(name, whole(number)) for name, number in (("0", 0), ("1", 1), ("2", 1)))
    rest = main.constant("rest", np.int32(24).reshape(()))
    main.operator(Builtin.SHAPE, [x], [shape], o.ShapeOptions(TensorType.int32))
    main.operator(Builtin.STRIDED_SLICE, [shape, begin, end, step], [batch], o.StridedSliceOptions(shrink_axis_mask=1))
    main.operator(Builtin.PACK, [batch, rest], [packed], o.PackOptions(2, 0))
    main.operator(Builtin.RESHAPE, [x, packed], [y])
    main.inputs, main.outputs = (x,), (y,)

    assert_equal_outputs(model.to_bytes(), tmp_path / "flatten.tflite", floats(EXAMPLES, 2, 3, 4))


def test_a_bias_may_be_left_out(tmp_path):
    """As −1 among the inputs, or by a shorter list of them."""
    for more in ([OMITTED], []):
        model = FlatModel()
        main = model.subgraph("main")
        x, y = main.tensor("x", (-1, 4), "float32"), main.tensor("y", (-1, 5), "float32")
        inputs = [x, main.constant("w", floats(5, 4)), *more]
        main.operator(Builtin.FULLY_CONNECTED, inputs, [y], o.FullyConnectedOptions())
        main.inputs, main.outputs = (x,), (y,)

        assert_equal_outputs(model.to_bytes(), tmp_path / "dense.tflite", floats(EXAMPLES, 4))


def test_what_is_not_read_is_named_at_once(tmp_path):
    """All operators, with their places; those that no output needs do not matter."""
    model = FlatModel()
    main = model.subgraph("main")
    x, y, z, unused = (main.tensor(name, (2, 4), "float32") for name in ("x", "y", "z", "unused"))
    main.operator(Builtin.RELU, [x], [unused])
    for code, source, target in ((108, x, y), (8, y, z), (104, x, unused)):
        model._codes[code, 1] = len(model._codes)
        main.operators.append(type(main.operators[0])(model._codes[code, 1], (source,), (target,), None))
    main.inputs, main.outputs = (x,), (z,)
    (tmp_path / "odd.tflite").write_bytes(model.to_bytes())

    with pytest.raises(FormatError, match=r"does not read: COS \(operator 1\), FLOOR \(operator 2\)$"):
        read_graph(tmp_path / "odd.tflite")


def test_an_output_of_another_shape_than_stated_is_refused(tmp_path):
    """Such a file contradicts itself; the runtime would find out when it runs."""
    use = Use("concat", Builtin.CONCATENATION, (2, 4), (X, X), ((2, 9),), o.ConcatenationOptions(axis=2))
    (tmp_path / "odd.tflite").write_bytes(use.file())

    with pytest.raises(FormatError, match=r"operator 0 \(CONCATENATION\): it makes f32\[n,2,8\], but the file says"):
        read_graph(tmp_path / "odd.tflite")


def test_the_batch_is_not_mixed(tmp_path):
    """An operator that joins or reduces examples has no meaning for a classifier of single photos."""
    mean = Use("mean", Builtin.MEAN, IMAGE, (X, whole(0)), ((8, 4),), o.ReducerOptions())
    (tmp_path / "mean.tflite").write_bytes(mean.file())

    with pytest.raises(FormatError, match="it reduces the batch"):
        read_graph(tmp_path / "mean.tflite")


@pytest.mark.parametrize("scaled", [False, True], ids=["transposed at once", "scaled before"])
def test_photos_with_channels_first(scaled, tmp_path):
    """Converters from PyTorch keep its (n, c, h, w); the Model takes photos as all do, without a transposition left."""
    network = tiny_model()
    graph, arrays = network.inference
    g = Builder("first")
    photos = g.input("photos", Spec((BATCH, 3, SIDE, SIDE)))
    scaling = g.param("scaling", Spec((3, 1, 1)))
    before = g.add(Mul(), photos, scaling) if scaled else photos
    g.add(Transpose((0, 2, 3, 1)), before, name="image")
    for value in graph.params:
        g.param(value, graph.specs[value])
    for node in graph.nodes:
        g.add(node.op, *node.inputs, name=node.output)
    arrays = Workspace({**arrays, "scaling": np.ones((3, 1, 1), np.float32)})
    path = tmp_path / "first.tflite"
    path.write_bytes(write(g.build(Value("logits")), arrays).data)

    model = read(path, preprocess=network.preprocess)

    x = floats(EXAMPLES, SIDE, SIDE, 3)
    np.testing.assert_allclose(model.run(x), network.run(x), rtol=1e-4, atol=1e-5)
    assert any(isinstance(node.op, Transpose) for node in model.graph.nodes) == scaled


def test_a_bias_with_the_axis_of_its_weights(tmp_path):
    """Converters before 2020 wrote axis 3 for a list of numbers, which has one axis."""
    model = FlatModel()
    main = model.subgraph("main")
    scales = (0.5, 0.25)
    x = main.tensor("x", (1, 4, 4, 2), "int8", quant=QuantParams((0.5,), (3,)))
    y = main.tensor("y", (1, 4, 4, 2), "int8", quant=QuantParams((1.0,), (0,)))
    w = main.constant("w", np.ones((1, 3, 3, 2), np.int8), QuantParams(scales, (0, 0), 3))
    b = main.constant("b", np.array([4, 8], np.int32), QuantParams(scales, (0, 0), 3))
    main.operator(Builtin.DEPTHWISE_CONV_2D, [x, w, b], [y], o.DepthwiseConv2DOptions(Padding.SAME, 1, 1, 1), 3)
    main.inputs, main.outputs = (x,), (y,)
    (tmp_path / "old.tflite").write_bytes(model.to_bytes())

    graph, arrays = read_graph(tmp_path / "old.tflite")

    np.testing.assert_array_equal(arrays[graph.nodes[0].inputs[2]], [2.0, 2.0])
