"""MIL programs in NumPy and ONNX's reference evaluator: what a Core ML package would compute, as Apple documents it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special
from op_cases.onnx_oracle import run_onnx

from edge_sdk.spec import Array

# coremltools' reference, "MIL Ops": https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
SIMPLE = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "real_div": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "matmul": np.matmul,
}  # fmt: skip
UNARY = {
    "relu": lambda x: np.maximum(x, 0), "relu6": lambda x: np.clip(x, 0, 6), "sigmoid": scipy.special.expit,
    "tanh": np.tanh, "erf": scipy.special.erf, "identity": lambda x: x, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs,
}  # fmt: skip
MIL_TYPES = {"fp16": np.float16, "fp32": np.float32, "int32": np.int32, "bool": np.bool_}


def run_program(program: Any, image: Array) -> Array:
    """Compute the probabilities (1, classes) of pixels (1, c, h, w), float32, in the order of the package's colours."""
    (name,) = program.functions["main"].inputs
    values: dict[str, Any] = {name: image}

    def read(given: Any) -> Any:
        if isinstance(given, list | tuple):
            return [read(each) for each in given]
        return values.get(given.name, given.val)

    for operation in program.functions["main"].operations:
        if operation.op_type == "const":
            continue
        if operation.op_type == "classify":
            return np.asarray(read(operation.inputs["probabilities"]))
        given = {key: read(value) for key, value in operation.inputs.items() if value is not None}
        results = _compute(operation.op_type, given)
        results = results if isinstance(results, list) else [results]
        for output, result in zip(operation.outputs, results, strict=True):
            values[output.name] = result
    raise AssertionError("the program does not classify")


def _compute(kind: str, given: dict[str, Any]) -> Any:
    if kind in SIMPLE:
        return SIMPLE[kind](given["x"], given["y"])
    if kind in UNARY:
        return UNARY[kind](given["x"])
    return globals()[f"_{kind}"](**given)


def _conv(x, weight, strides, pad, dilations, groups, bias=None, **_names):
    top, bottom, left, right = map(int, pad)
    types = (np.asarray(each, np.float32) for each in (x, weight, *([] if bias is None else [bias])))
    (y,) = run_onnx(
        "Conv", *types, strides=[int(s) for s in strides], dilations=[int(d) for d in dilations],
        group=int(groups), pads=[top, left, bottom, right],
    )  # fmt: skip
    return y.astype(x.dtype)


def _linear(x, weight, bias=0.0):
    return x @ np.asarray(weight).T + bias


def _batch_norm(x, mean, variance, gamma, beta, epsilon):
    shape = (1, -1, *(1,) * (x.ndim - 2))
    m, v, g, b = (np.asarray(each).reshape(shape) for each in (mean, variance, gamma, beta))
    return ((x - m) / np.sqrt(v + epsilon) * g + b).astype(x.dtype)


def _pool(kind, x, kernel_sizes, strides, pad, **attributes):
    top, bottom, left, right = map(int, pad)
    (y,) = run_onnx(
        kind, np.asarray(x, np.float32), kernel_shape=[int(k) for k in kernel_sizes],
        strides=[int(s) for s in strides], pads=[top, left, bottom, right], **attributes,
    )  # fmt: skip
    return y.astype(x.dtype)


def _max_pool(x, kernel_sizes, strides, pad, **_names):
    return _pool("MaxPool", x, kernel_sizes, strides, pad)


def _avg_pool(x, kernel_sizes, strides, pad, exclude_padding_from_average=False, **_names):
    return _pool("AveragePool", x, kernel_sizes, strides, pad, count_include_pad=int(not exclude_padding_from_average))


def _local_response_norm(x, size, alpha, beta, k):
    squares = np.pad(np.square(x), ((0, 0), (size // 2, size // 2), (0, 0), (0, 0)))
    total = sum(squares[:, shift : shift + x.shape[1]] for shift in range(size))
    return (x / (k + alpha / size * total) ** beta).astype(x.dtype)


def _sigmoid_hard(x, alpha, beta):
    return np.clip(alpha * x + beta, 0, 1).astype(x.dtype)


def _clip(x, alpha, beta):
    return np.clip(x, alpha, beta)


def _softmax(x, axis):
    return scipy.special.softmax(x.astype(np.float64), axis=int(axis)).astype(x.dtype)


def _reduce_mean(x, axes, keep_dims):
    return x.mean(axis=tuple(int(axis) for axis in axes), keepdims=bool(keep_dims))


def _reshape(x, shape):
    return x.reshape([int(size) for size in shape])


def _transpose(x, perm):
    return x.transpose([int(axis) for axis in perm])


def _concat(values, axis, **_names):
    return np.concatenate(values, axis=int(axis))


def _split(x, split_sizes, axis, **_names):
    return np.split(x, np.cumsum(split_sizes)[:-1], axis=int(axis))


def _slice_by_index(x, begin, end, **_names):
    return x[tuple(slice(int(first), int(last)) for first, last in zip(begin, end, strict=True))]


def _pad(x, pad, constant_val, **_names):
    return np.pad(x, np.asarray(pad).reshape(-1, 2), constant_values=constant_val)


def _cast(x, dtype):
    return np.asarray(x).astype(MIL_TYPES[dtype])


def _quantize(input, scale, output_dtype, zero_point=0, **_names):  # noqa: A002 - MIL's own name
    limits = np.iinfo(output_dtype)
    return np.clip(np.rint(input / scale) + zero_point, limits.min, limits.max).astype(output_dtype)


def _dequantize(input, scale, zero_point=0, **_names):  # noqa: A002 - MIL's own name
    return ((input.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)).astype(np.float32)


def _constexpr_affine_dequantize(quantized_data, scale, zero_point, axis):
    shape = [1] * quantized_data.ndim
    shape[int(axis)] = -1
    scale = np.reshape(scale, shape)
    zero = np.reshape(zero_point, shape if np.ndim(zero_point) else ()).astype(np.float32)
    return ((quantized_data.astype(np.float32) - zero) * scale).astype(np.float32)


def _constexpr_lut_to_dense(indices, lut, shape):
    bits = (len(lut) - 1).bit_length()
    stream = int.from_bytes(np.asarray(indices, np.uint8).tobytes(), "little")
    text = f"{stream:b}".zfill(8 * len(indices))[::-1]  # the lowest bit first
    count = int(np.prod(shape))
    places = [int(text[start : start + bits][::-1], 2) for start in range(0, count * bits, bits)]
    return np.asarray(lut)[places].reshape(shape)
