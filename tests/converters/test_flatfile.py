"""The file writer, read back by the schema module that the runtime's authors generate: an independent oracle."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_sdk.converters.tflite import options as options_module
from edge_sdk.converters.tflite.flatfile import OMITTED, FlatModel
from edge_sdk.converters.tflite.model_check import check_model
from edge_sdk.converters.tflite.options import Conv2DOptions
from edge_sdk.converters.tflite.schema import Builtin, FusedActivation, Options, Padding, TensorType
from edge_sdk.converters.tflite.table_writer import TableWriter
from edge_sdk.errors import ExportError, FormatError
from edge_sdk.spec import QuantParams

schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="tflite-runtime ships no schema module")

OPTIONS = [
    value
    for value in vars(options_module).values()
    if isinstance(value, type) and issubclass(value, Options) and value is not Options
]


def read_back(data: bytes):
    """The file as the generated module's objects."""
    return schema.ModelT.InitFromPackedBuf(data, 0)


def small_model() -> FlatModel:
    """One convolution on an open batch."""
    model = FlatModel("small")
    main = model.subgraph("main")
    x = main.tensor("x", (-1, 8, 8, 3), "float32")
    w = main.constant("w", np.arange(108, dtype=np.float32).reshape(4, 3, 3, 3))
    y = main.tensor("y", (-1, 8, 8, 4), "float32")
    main.operator(Builtin.CONV_2D, [x, w, OMITTED], [y], Conv2DOptions(stride_w=1, stride_h=1))
    main.inputs, main.outputs = (x,), (y,)
    model.signature("serving_default", main, {"x": x}, {"y": y})
    model.metadata("note", b"hello")
    return model


@pytest.mark.parametrize("code", list(Builtin), ids=lambda code: code.name)
def test_operator_codes_are_those_of_the_schema(code):
    """Each number stands for the operator of that name."""
    assert getattr(schema.BuiltinOperator, code.name) == code


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(TensorType, "TensorType"), (Padding, "Padding"), (FusedActivation, "ActivationFunctionType")],
)
def test_enumerations_are_those_of_the_schema(ours, theirs):
    """Each member has the schema's number."""
    for member in ours:
        assert getattr(getattr(schema, theirs), member.name.upper()) == member


@pytest.mark.parametrize("kind", OPTIONS, ids=lambda kind: kind.__name__)
def test_options_are_read_back_field_by_field(kind):
    """Every field, set to something else than its default, arrives in the field of the same name."""
    other = {"int8": 1, "int32": 3, "float32": 0.25, "bool": True, "int32 vector": (2, 3)}
    fields = dataclasses.fields(kind)
    values = {field.name: other[field.metadata["slot"].kind] for field in fields}
    model = FlatModel()
    main = model.subgraph("main")
    main.operator(Builtin.ADD, [], [], kind(**values))

    operator = read_back(model.to_bytes()).subgraphs[0].operators[0]

    assert operator.builtinOptionsType == getattr(schema.BuiltinOptions, kind.__name__)
    for name, value in values.items():
        first, *rest = name.split("_")
        found = getattr(operator.builtinOptions, first + "".join(word.capitalize() for word in rest))
        assert tuple(found) == value if isinstance(value, tuple) else found == value


@pytest.mark.parametrize("kind", OPTIONS, ids=lambda kind: kind.__name__)
def test_defaults_are_those_of_the_schema(kind):
    """A field that is left out reads as what we take for its default."""
    theirs = getattr(schema, f"{kind.__name__}T")()
    for field in dataclasses.fields(kind):
        first, *rest = field.name.split("_")
        found = getattr(theirs, first + "".join(word.capitalize() for word in rest))
        assert (tuple(found) if found is not None else ()) == () if field.default == () else found == field.default


def test_tensors_operators_signatures_and_metadata_arrive():
    """The whole structure, read by the other module."""
    model = read_back(small_model().to_bytes())
    main = model.subgraphs[0]

    assert (model.version, model.description, main.name) == (3, b"small", b"main")
    assert [tensor.name for tensor in main.tensors] == [b"x", b"w", b"y"]
    assert main.tensors[0].shape.tolist() == [1, 8, 8, 3]
    assert main.tensors[0].shapeSignature.tolist() == [-1, 8, 8, 3]
    assert main.tensors[1].shapeSignature is None
    assert main.operators[0].inputs.tolist() == [0, 1, -1]
    assert (main.inputs.tolist(), main.outputs.tolist()) == ([0], [2])
    signature = model.signatureDefs[0]
    assert (signature.signatureKey, signature.inputs[0].name, signature.outputs[0].tensorIndex) == (
        b"serving_default", b"x", 2,
    )  # fmt: skip
    assert bytes(model.buffers[model.metadata[0].buffer].data) == b"hello"
    assert model.buffers[0].data is None


def test_quantization_arrives():
    """Scales, zero points and their axis."""
    model = FlatModel()
    quant = QuantParams((0.5, 0.25), (0, 0), axis=3)
    model.subgraph("main").constant("w", np.zeros((1, 1, 1, 2), np.int8), quant)

    found = read_back(model.to_bytes()).subgraphs[0].tensors[0].quantization

    assert (found.scale.tolist(), found.zeroPoint.tolist(), found.quantizedDimension) == ([0.5, 0.25], [0, 0], 3)


def test_equal_constants_are_stored_once():
    """Two tensors of the same bytes share a buffer; other bytes have their own."""
    model = FlatModel()
    main = model.subgraph("main")
    for name, value in (("a", 1), ("b", 1), ("c", 2)):
        main.constant(name, np.full(1000, value, np.float32))

    tensors = read_back(model.to_bytes()).subgraphs[0].tensors

    assert tensors[0].buffer == tensors[1].buffer != tensors[2].buffer


@pytest.mark.parametrize("sizes", [(1, 3, 7), (16, 5, 1), (2, 2, 2)])
def test_constants_start_at_multiples_of_16(sizes):
    """The schema's force_align, which runtimes with vector instructions rely on."""
    model = FlatModel()
    main = model.subgraph("main")
    contents = [bytes(range(65 + i, 65 + i + 3)) * size * 16 for i, size in enumerate(sizes)]
    for i, content in enumerate(contents):
        main.constant(str(i), np.frombuffer(content, np.uint8))

    data = model.to_bytes()

    assert [data.find(content) % 16 for content in contents] == [0, 0, 0]


def test_equal_models_are_equal_bytes():
    """Nothing in a file depends on when or where it was written."""
    assert small_model().to_bytes() == small_model().to_bytes()


def test_codes_above_127_are_written_for_old_and_new_readers():
    """The 8-bit field holds 127 where the 32-bit one holds the truth."""
    model = FlatModel()
    model.subgraph("main").operator(Builtin.GELU, [], [], version=2)

    code = read_back(model.to_bytes()).operatorCodes[0]

    assert (code.deprecatedBuiltinCode, code.builtinCode, code.version) == (127, 150, 2)


def test_a_file_above_two_gibibytes_is_refused_before_memory_is_taken():
    """The limit of the format, as an error and not as a broken file."""
    with pytest.raises(ExportError, match="2,147,483,647"):
        TableWriter(2**31)


@pytest.mark.parametrize(
    ("shape", "dtype", "data", "message"),
    [
        ((2,), "complex64", None, "complex64"),
        ((2,), "float32", np.zeros(3, np.float32), r"\[3\]"),
        ((2,), "float32", np.zeros(2, np.int8), "int8"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(shape, dtype, data, message):
    """The message names the tensor and what was found."""
    with pytest.raises(ExportError, match=f"'bad'.*{message}"):
        FlatModel().subgraph("main").tensor("bad", shape, dtype, data)


def test_an_operator_on_tensors_that_are_not_there_is_refused():
    """An index from another subgraph, for instance."""
    with pytest.raises(ExportError, match="ADD"):
        FlatModel().subgraph("main").operator(Builtin.ADD, [0], [1])


def test_the_checker_accepts_what_the_writer_writes():
    """And hands on the metadata."""
    assert check_model(small_model().to_bytes(), "small").metadata == {"note": b"hello"}


@pytest.mark.parametrize("share", [0.0, 0.005, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(share):
    """Wherever a download broke off."""
    data = small_model().to_bytes()

    with pytest.raises(FormatError, match="small"):
        check_model(data[: int(len(data) * share)], "small")


def test_random_damage_never_raises_anything_but_a_format_error():
    """500 damaged files; the checker is what stands between them and tflite-runtime 2.14, which trusts its input."""
    data, rng, refused = small_model().to_bytes(), np.random.default_rng(0), 0
    for _ in range(500):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 4):
            damaged[position] = rng.integers(256)
        try:
            check_model(bytes(damaged), "damaged")
        except FormatError:
            refused += 1

    assert refused > 100
