"""What only moves numbers moves stored ones too."""

from __future__ import annotations

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu import shape
from edge_sdk.kernels.gpu.integer_rescaling import integer_kernel
from edge_sdk.ops.shape import Concat, ExpandDims, Flatten, Pad, Reshape, Slice, Split, Squeeze, Transpose
from edge_sdk.quantization.arithmetic import same_parameters, stored_padding
from edge_sdk.spec import Array

integer_kernel(Concat, when=same_parameters)(shape.concat)
integer_kernel(ExpandDims)(shape.expand_dims)
integer_kernel(Flatten)(shape.flatten)
integer_kernel(Reshape)(shape.reshape)
integer_kernel(Slice)(shape.slice_block)
integer_kernel(Split)(shape.split)
integer_kernel(Squeeze)(shape.squeeze)
integer_kernel(Transpose)(shape.transpose)


@integer_kernel(Pad, constants=stored_padding)
def pad(op: Pad, out: Array, x: Array, *, constants: int) -> Call:
    return shape.padded(out, x, op.paddings, constants)
