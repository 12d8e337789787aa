"""Operators that move elements."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.coreml.translation import MILNode, Result, translates

_TYPES = {1: "fp32", 6: "int32", 7: "int32", 9: "bool", 10: "fp16"}
"""ONNX's numbers of element types, and MIL's names; whole numbers have 32 bits there."""


@translates("Reshape", "Flatten")
def reshape(c: MILNode) -> Result:
    """The same of MIL, to a shape that is known."""
    return c.mb.reshape(x=c.input(0), shape=list(c.output_shape()), name=c.name)


@translates("Transpose")
def transpose(c: MILNode) -> Result:
    """The same of MIL."""
    return c.mb.transpose(x=c.input(0), perm=list(c.attribute("perm")), name=c.name)


@translates("Concat")
def concat(c: MILNode) -> Result:
    """The same of MIL."""
    return c.mb.concat(values=c.inputs(), axis=c.attribute("axis"), name=c.name)


@translates("Split")
def split(c: MILNode) -> Result:
    """The same of MIL."""
    if len(c.outputs) == 1:
        return c.mb.identity(x=c.input(0), name=c.name)
    return c.mb.split(x=c.input(0), split_sizes=c.integers(1), axis=c.attribute("axis", 0), name=c.name)


@translates("Slice")
def slice_(c: MILNode) -> Result:
    """slice_by_index."""
    begin, end = [0] * len(c.shape(0)), list(c.shape(0))
    for first, last, axis in zip(c.integers(1), c.integers(2), c.integers(3), strict=True):
        begin[axis], end[axis] = first, min(last, end[axis])
    return c.mb.slice_by_index(x=c.input(0), begin=begin, end=end, name=c.name)


@translates("Pad")
def pad(c: MILNode) -> Result:
    """The same of MIL, whose amounts are (before, after) of one axis after the other."""
    amounts = np.array(c.integers(1)).reshape(2, -1).T.reshape(-1)
    return c.mb.pad(x=c.input(0), pad=amounts.astype(np.int32), constant_val=float(c.array(2)), name=c.name)


@translates("Expand")
def expand(c: MILNode) -> Result:
    """A product with ones."""
    return c.mb.mul(x=c.input(0), y=np.ones(c.output_shape(), np.float32), name=c.name)


@translates("Cast")
def cast(c: MILNode) -> Result:
    """The same of MIL; stored weights in half precision stay as they are."""
    code = c.attribute("to")
    stored = c.input(0)
    if isinstance(stored, np.ndarray):
        return stored.astype(np.float32)
    if code not in _TYPES:
        raise c.no_form("to this type")
    return c.mb.cast(x=stored, dtype=_TYPES[code], name=c.name)
