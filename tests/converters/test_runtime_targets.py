"""Files are written for a runtime: with the forms that it has, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from lowered_cases import LOWERED, graph_of
from tiny_models import tiny_model

import edge_sdk as edge
from edge_sdk.builder import Builder
from edge_sdk.converters.tflite.options import (
    CastOptions,
    DepthwiseConv2DOptions,
    FullyConnectedOptions,
    ResizeBilinearOptions,
    TransposeConvOptions,
)
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.runtime_table import parse, show
from edge_sdk.converters.tflite.schema import Builtin, FusedActivation
from edge_sdk.converters.tflite.versions import first_runtime, minimum_runtime, operator_version, target_runtime
from edge_sdk.converters.tflite.writer import write
from edge_sdk.errors import ExportError, UsageError
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.ops.activation import Gelu
from edge_sdk.ops.conv import ConvTranspose2D
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.shape import Transpose
from edge_sdk.preprocess import Preprocess
from edge_sdk.session import Session
from edge_sdk.spec import QuantParams, Spec
from edge_sdk.workspace import Workspace

ONE, EIGHT = QuantParams((0.5,), (0,)), QuantParams((0.5,) * 8, (0,) * 8, 0)
IMAGE = (1, 4, 4, 8)


def _float(*shape: int) -> Spec:
    return Spec(shape)


def _int8(*shape: int, quant: QuantParams = ONE) -> Spec:
    return Spec(shape, "int8", quant)


# Copied by hand from op_version.cc and runtime_version.cc: operator, inputs, output, options, version, first runtime.
PUBLISHED = [
    (Builtin.CONV_2D, (_float(*IMAGE), _float(8, 1, 1, 8), _float(8)), _float(*IMAGE), None, 1, "1.5"),
    (Builtin.CONV_2D, (_float(*IMAGE), _int8(8, 1, 1, 8, quant=EIGHT), _float(8)), _float(*IMAGE), None, 5, "2.4"),
    (Builtin.CONV_2D, (_float(*IMAGE), _int8(8, 1, 1, 8), _float(8)), _float(*IMAGE), None, 2, "1.14"),
    (Builtin.CONV_2D, (_int8(*IMAGE), _int8(8, 1, 1, 8), Spec((8,), "int32")), _int8(*IMAGE), None, 3, "1.14"),
    (
        Builtin.DEPTHWISE_CONV_2D, (_float(*IMAGE), _float(1, 3, 3, 8), _float(8)), _float(*IMAGE),
        DepthwiseConv2DOptions(dilation_w_factor=2), 2, "1.12",
    ),
    (Builtin.FULLY_CONNECTED, (_float(1, 8), _int8(8, 8, quant=EIGHT), _float(8)), _float(1, 8), None, 12, "2.17"),
    (Builtin.FULLY_CONNECTED, (_float(1, 8), _float(8, 8)), _float(1, 8), None, 6, "2.1"),
    (
        Builtin.FULLY_CONNECTED, (_float(1, 8), _int8(8, 8), _float(8)), _float(1, 8),
        FullyConnectedOptions(asymmetric_quantize_inputs=True), 9, "2.3",
    ),
    (Builtin.FULLY_CONNECTED, (_int8(1, 8), _int8(8, 8), Spec((8,), "int32")), _int8(1, 8), None, 4, "1.14"),
    (
        Builtin.TRANSPOSE_CONV, (Spec((4,), "int32"), _float(8, 1, 1, 8), _float(*IMAGE), _float(8)), _float(*IMAGE),
        TransposeConvOptions(fused_activation_function=FusedActivation.RELU), 4, "2.13",
    ),
    (
        Builtin.TRANSPOSE_CONV, (Spec((4,), "int32"), _int8(8, 1, 1, 8), _int8(*IMAGE), Spec((8,), "int32")),
        _int8(*IMAGE), TransposeConvOptions(), 3, "2.3",
    ),
    (
        Builtin.TRANSPOSE_CONV,
        (Spec((4,), "int32"), _int8(8, 1, 1, 8), Spec(IMAGE, "int16", ONE), Spec((8,), "int64")),
        Spec(IMAGE, "int16", ONE), TransposeConvOptions(), 3, "2.4",
    ),
    (
        Builtin.RESIZE_BILINEAR, (_int8(*IMAGE), Spec((2,), "int32")), _int8(*IMAGE),
        ResizeBilinearOptions(half_pixel_centers=True), 3, "2.2",
    ),
    (Builtin.QUANTIZE, (Spec(IMAGE, "uint8", ONE),), _int8(*IMAGE), None, 1, "1.14"),
    (Builtin.QUANTIZE, (_float(*IMAGE),), Spec(IMAGE, "int16", ONE), None, 2, "1.15"),
    (Builtin.DEQUANTIZE, (Spec((8,), "float16"),), _float(8), None, 3, "1.15"),
    (Builtin.DEQUANTIZE, (_int8(8, quant=EIGHT),), _float(8), None, 5, "2.7"),
    (Builtin.ADD, (Spec((3,), "int16", ONE),) * 2, Spec((3,), "int16", ONE), None, 3, "2.4"),
    (Builtin.ADD, (Spec((3,), "int16"),) * 2, Spec((3,), "int16"), None, 5, "2.13"),
    (Builtin.MUL, (Spec((3,), "int16", ONE),) * 2, Spec((3,), "int16", ONE), None, 4, "2.3"),
    (Builtin.MUL, (Spec((3,), "int64"),) * 2, Spec((3,), "int64"), None, 5, "2.6"),
    (Builtin.MUL, (_int8(3, quant=QuantParams((2.0,), (0,))),) * 2, _int8(3), None, 3, "1.15"),
    (Builtin.MAXIMUM, (_float(1, 1, 1, 1, 2), _float(1, 1, 1, 1, 1)), _float(1, 1, 1, 1, 2), None, 3, "2.3"),
    (Builtin.MAXIMUM, (_float(1, 1, 1, 1, 2),) * 2, _float(1, 1, 1, 1, 2), None, 1, "1.14"),
    (Builtin.TRANSPOSE, (_float(1, 1, 1, 1, 1, 2),), _float(1, 1, 1, 1, 1, 2), None, 6, "2.12"),
    (Builtin.TRANSPOSE, (_int8(1, 1, 1, 1, 2),), _int8(1, 1, 1, 1, 2), None, 4, "2.3"),
    (Builtin.SPLIT, (Spec((), "int32"), Spec((4,), "int32")), Spec((2,), "int32"), None, 3, "1.14"),
    (Builtin.SLICE, (_float(1, 1, 1, 1, 2),), _float(1, 1, 1, 1, 2), None, 5, "2.5"),
    (Builtin.CAST, (_float(3),), _int8(3), CastOptions(), 3, "2.8"),
    (Builtin.CAST, (Spec((3,), "float16"),), _float(3), CastOptions(), 5, "2.12"),
    (Builtin.GELU, (_float(3),), _float(3), None, 1, "2.9"),
    (Builtin.BROADCAST_TO, (_int8(3),), _int8(2, 3), None, 3, "2.5"),
    (Builtin.FILL, (Spec((1,), "int32"), _int8()), _int8(3), None, 3, "2.5"),
    (Builtin.GATHER, (Spec((3,), "bool"), Spec((1,), "int32")), Spec((1,), "bool"), None, 3, "1.15"),
    (Builtin.LOG, (_int8(3),), _int8(3), None, 2, "2.15"),
    (Builtin.ABS, (Spec((3,), "int32"),), Spec((3,), "int32"), None, 5, "2.12"),
    (Builtin.SUB, (Spec((3,), "int64"),) * 2, Spec((3,), "int64"), None, 4, "2.4"),
]  # fmt: skip


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row[0].name}-{row[4]}-{row[1][-1]}")
def test_versions_are_those_of_the_published_tables(row):
    """The version of a use, and the first runtime that has it (no file is said to run in one before 2.3)."""
    code, inputs, output, options, version, runtime = row

    assert operator_version(code, inputs, [output], options) == version
    assert parse(minimum_runtime([first_runtime(code, version, inputs)])) == max(parse(runtime), (2, 3, 0))


REFUSED = {"2.3": ("gelu", "add-integers")}


@pytest.mark.parametrize("target", ["2.3", "2.12", "2.14", "latest"])
@pytest.mark.parametrize("case", LOWERED, ids=str)
def test_every_operator_is_written_for_a_runtime_or_refused(case, target):
    """The file needs nothing newer, and computes what the Session does; a refusal names the runtime that would do."""
    graph, workspace, feeds = graph_of(case)
    if str(case) in REFUSED.get(target, ()):
        with pytest.raises(ExportError, match="ask for --min-runtime"):
            write(graph, workspace, min_runtime=target)
        return

    written = write(graph, workspace, min_runtime=target)

    assert parse(written.report.minimum_runtime) <= target_runtime(target)
    if written.data != write(graph, workspace).data:  # a form of its own; the usual one is proven elsewhere
        wanted = Session(graph, workspace, device="reference").run(feeds)
        for found, expected in zip(TFLiteModel(written.data).invoke(feeds).values(), wanted.values(), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5 * (np.abs(expected).max() or 1))


def _layer(op, x: Spec, *shapes: tuple[int, ...]):
    g, arrays = Builder("layer"), Workspace()
    inputs, rng = [g.input("x", x)], np.random.default_rng(0)
    for index, shape in enumerate(shapes):
        arrays[f"w{index}"] = array = rng.standard_normal(shape, np.float32)
        inputs.append(g.param(f"w{index}", Spec(array.shape)))
    return g.build(g.add(op, *inputs, name="y")), arrays


def test_a_dense_layer_has_a_scale_for_each_output_where_the_runtime_knows_them():
    """From 2.17 on, which makes outputs of small weights exact that one scale for all would lose."""
    graph, arrays = _layer(Linear(), _float(2, 512), (4, 512))
    arrays["w0"] *= np.float32([[0.001], [1], [1], [1]])
    x = np.random.default_rng(1).standard_normal((2, 512), np.float32)
    exact = x @ arrays["w0"].T

    old, new = (write(graph, arrays, "int8", min_runtime=runtime) for runtime in ("2.16", "2.17"))
    errors = [np.abs(next(iter(TFLiteModel(f.data).invoke({"x": x}).values())) - exact)[:, 0].max() for f in (old, new)]

    assert (old.report.minimum_runtime, new.report.minimum_runtime) == ("2.3.0", "2.17.0")
    assert errors[1] < 0.05 * np.abs(exact[:, 0]).max() < errors[0]


def test_an_activation_is_fused_into_a_transposed_convolution_where_the_runtime_has_it():
    """From 2.13 on; both files compute the same."""
    graph, arrays = _layer(ConvTranspose2D((2, 2), activation="relu"), _float(1, 3, 3, 4), (4, 2, 2, 4))
    x = np.random.default_rng(1).standard_normal((1, 3, 3, 4), np.float32)

    old, new = (write(graph, arrays, min_runtime=runtime) for runtime in ("2.12", "2.13"))
    before, after = (next(iter(TFLiteModel(f.data).invoke({"x": x}).values())) for f in (old, new))

    assert old.report.operators == {"TRANSPOSE_CONV": 1, "RELU": 1}
    assert new.report.operators == {"TRANSPOSE_CONV": 1}
    np.testing.assert_allclose(after, before, rtol=1e-6)
    assert (before == 0).any()
    assert (before > 0).any()


def test_gelu_is_composed_where_the_runtime_lacks_it():
    """Its approximation is that of the formula; the exact one is refused."""
    x = np.linspace(-4, 4, 33, dtype=np.float32).reshape(1, 33)
    formula = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    written = write(*_layer(Gelu(approximate=True), _float(1, 33)), min_runtime="2.8")
    (found,) = TFLiteModel(written.data).invoke({"x": x}).values()

    assert "GELU" not in written.report.operators
    np.testing.assert_allclose(found, formula, atol=1e-6)
    with pytest.raises(ExportError, match=r"GELU of version 1 is in TensorFlow Lite 2\.9 and later.*is to run in 2\.8"):
        write(*_layer(Gelu(approximate=False), _float(1, 33)), min_runtime="2.8")


def test_a_refusal_names_operator_version_runtime_and_what_to_do():
    """A transpose of seven axes came in 2.22."""
    graph, arrays = _layer(Transpose((6, 5, 4, 3, 2, 1, 0)), _float(1, 1, 1, 1, 1, 1, 2))

    with pytest.raises(ExportError) as refusal:
        write(graph, arrays, min_runtime="2.14")

    for part in ("'y'", "TRANSPOSE of version 8", "2.22 and later", "to run in 2.14", "--min-runtime 2.22"):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("2.1", "between 2.3 and 2.23"),
        ("3.0", "'latest'"),
        ("lates", "did you mean 'latest'"),
        ("2.-3", "such as 2.14"),
    ],
)
def test_an_unknown_runtime_is_refused(name, message):
    """With those that are known."""
    with pytest.raises(UsageError, match=message):
        target_runtime(name)


def test_runtimes_are_read_and_shown():
    """With and without the patch."""
    assert target_runtime("2.14") == target_runtime("2.14.0") == (2, 14, 0)
    assert target_runtime(None) is None
    assert show((2, 14, 4)) == "2.14.4"


@pytest.mark.parametrize("precision", ["none", "fp16", "dynamic", "int8"])
def test_an_exportable_network_has_the_operators_of_its_file(precision, tmp_path):
    """What is found without photos or trained weights is what `export` then writes."""
    model = tiny_model()
    photos = np.random.default_rng(0).integers(0, 256, (8, *model.preprocess.shape), np.uint8)
    written = edge.export(model, tmp_path / "tiny.tflite", quantize=precision, calibrate=photos)

    found = edge.check_exportable(model, precision)

    assert found.operators == written.operators
    assert found.minimum_runtime == written.minimum_runtime


def test_a_network_that_cannot_be_exported_so_is_refused():
    """A network whose activation has no 8-bit form, by name, with the runtime that was asked for."""
    net = Network("gated", (8, 8, 3), 0)
    features = net.global_average_pool(net.conv(net.image, 8, 3, "stem"))
    graph, weights = net.head(net.builder.add(Gelu(), features, name="gate"), 3)
    model = Model(graph, weights, Preprocess((8, 8)), ("a", "b", "c"), {"architecture": "gated"})

    assert edge.check_exportable(model, "dynamic", "2.14").operators["GELU"] > 0
    with pytest.raises(ExportError, match=r"gated cannot be exported for TensorFlow Lite 2\.14: int8: .*gelu \(gate\)"):
        edge.check_exportable(model, "int8", "2.14")
    with pytest.raises(UsageError, match="did you mean 'int8'"):
        edge.check_exportable(model, "int9")
