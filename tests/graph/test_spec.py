"""Specs: sizes, names, the open batch, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sdk.errors import EdgeError, ShapeError
from edge_sdk.spec import BATCH, DTYPES, QuantParams, Spec, spec_of


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (Spec((BATCH, 224, 224, 3)), "f32[n,224,224,3]"),
        (Spec((3,), "float64"), "f64[3]"),
        (Spec((), "int64"), "i64[]"),
        (Spec((0, 2), "uint8"), "u8[0,2]"),
        (Spec((1,), "bool"), "bool[1]"),
    ],
)
def test_a_spec_reads_short(spec, text):
    """Type and sizes, the open batch as n."""
    assert str(spec) == text


@pytest.mark.parametrize("dtype", sorted(DTYPES - {"bfloat16"}))
def test_bytes_are_numpys(dtype):
    """A spec takes the memory that NumPy's array of it takes."""
    array = np.zeros((2, 3, 4), dtype)

    spec = Spec(array.shape, dtype)

    assert (spec.rank, spec.elements, spec.bytes, spec.numpy_dtype) == (3, 24, array.nbytes, array.dtype)


def test_bfloat16_is_held_as_its_bits():
    """NumPy has no such type: two bytes, whose meaning an array's spec tells."""
    spec = Spec((2, 3), "bfloat16")

    assert (str(spec), spec.bytes, spec.numpy_dtype) == ("bf16[2,3]", 12, np.uint16)
    assert spec_of(np.zeros((2, 3), np.uint16)) == spec
    assert spec_of(np.zeros((2, 3), np.float16)) == Spec((2, 3), "float16")


def test_a_scalar_has_one_element_and_an_empty_array_none():
    """The product over no sizes is 1."""
    assert Spec(()).elements == 1
    assert Spec((0, 7)).bytes == 0


def test_binding_replaces_the_open_batch_only():
    """A fixed first dimension stays; dtype and quantization stay."""
    quant = QuantParams((0.5,), (3,))

    assert Spec((BATCH, 4), "uint8", quant).bind(2) == Spec((2, 4), "uint8", quant)
    assert Spec((7, 4)).bind(2) == Spec((7, 4))
    assert Spec(()).bind(2) == Spec(())


def test_an_open_batch_has_no_size():
    """The message says what is missing."""
    spec = Spec((BATCH, 4))

    assert spec.symbolic
    with pytest.raises(ShapeError, match=r"f32\[n,4\] has no size before a batch is bound"):
        _ = spec.elements
    with pytest.raises(ShapeError):
        _ = spec.bytes


@pytest.mark.parametrize(
    ("dtype", "quant", "message"),
    [
        ("float32", QuantParams((0.5,), (0,)), r"f32\[3,2\] holds no stored integers"),
        ("bool", QuantParams((0.5,), (0,)), "holds no stored integers"),
        ("int8", QuantParams((0.5,) * 2, (0,) * 2, 0), r"2 scales along axis 0 do not fit i8\[3,2\]"),
        ("int8", QuantParams((0.5,) * 2, (0,) * 2, 2), "2 scales along axis 2 do not fit"),
        ("int8", QuantParams((0.5,) * 2, (0,) * 2, -1), "2 scales along axis -1 do not fit"),
        ("int8", QuantParams((0.5,), (128,)), "zero points must be int8"),
        ("uint8", QuantParams((0.5,), (-1,)), "zero points must be uint8"),
        ("int32", QuantParams((0.5,), (10**30,)), "zero points must be int32"),
    ],
)
def test_a_quantization_must_fit(dtype, quant, message):
    """Kernels take a scale and a zero point for every channel, and these for numbers of the stored type."""
    with pytest.raises(ShapeError, match=message):
        Spec((3, 2), dtype, quant)


def test_another_shape_has_no_quantization():
    """What is known of the values does not hold for others."""
    spec = Spec((2, 3), "int8", QuantParams((1.0,), (0,)))

    assert spec.with_shape((6,)) == Spec((6,), "int8")


@pytest.mark.parametrize("shape", [(2, BATCH), (-2,), (-2, 3), (1, -3)])
def test_sizes_below_zero_are_refused(shape):
    """Only the first dimension may be open."""
    with pytest.raises(ShapeError, match="only the first may be the symbolic batch"):
        Spec(shape)


@pytest.mark.parametrize("dtype", ["float", "complex64", "object", ""])
def test_an_unknown_dtype_is_refused(dtype):
    """The message lists the known ones."""
    with pytest.raises(ShapeError, match="is not one of bfloat16, bool, float16, float32"):
        Spec((1,), dtype)


@pytest.mark.parametrize(
    ("scale", "zero_point", "axis"),
    [((), (), None), ((1.0, 2.0), (0, 0), None), ((1.0,), (0, 0), 0), ((1.0, 2.0), (0,), 1)],
)
def test_scales_and_zero_points_come_in_pairs(scale, zero_point, axis):
    """One pair for a tensor, or one for each channel along an axis."""
    with pytest.raises(ShapeError, match="one of each"):
        QuantParams(scale, zero_point, axis)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_is_a_number_above_zero(scale):
    """Division by it must make sense."""
    with pytest.raises(ShapeError, match="above 0"):
        QuantParams((scale,), (0,))


def test_specs_are_values():
    """Equal specs are one key of a dict, and cannot be changed."""
    spec = Spec((1, 2))

    assert {spec: 1}[Spec((1, 2))] == 1
    with pytest.raises(AttributeError):
        spec.dtype = "int8"


def test_its_errors_are_both_kinds():
    """Callers may catch what the SDK raises, or ValueError."""
    assert issubclass(ShapeError, EdgeError)
    assert issubclass(ShapeError, ValueError)
