"""Operators that only gradients are made of look at their inputs too: a file may hold one of any shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from kernel_calls import call_kernel
from op_cases import CASES

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.kernel import applicable_kernels, load_device
from edge_sdk.op import OPERATORS, Op
from edge_sdk.spec import Array, Spec

load_device("cpu")
Use = tuple[Op, list[Spec]]


def gradient_operators() -> Iterator[Use]:
    """A use of every gradient operator that the rows are, or lead to: the operator and the specs of its inputs."""
    seen: set[type[Op]] = set()
    for case in CASES:
        g = Builder("case")
        inputs = [g.input(f"x{i}", Spec(x.shape, x.dtype.name)) for i, x in enumerate(case.inputs)]
        y = g.add_multi(case.op, *inputs, name="y")[0]
        if case.differentiable:
            gradient(g, y, [inputs[i] for i in case.differentiable], seed=g.input("dy", g.spec(y)))
        for node in g.nodes:
            if node.op.name.endswith("_grad") and type(node.op) not in seen:
                seen.add(type(node.op))
                yield node.op, [g.spec(value) for value in node.inputs]


USES = list(gradient_operators())


def others(spec: Spec) -> Iterator[Spec]:
    """One index more along each axis, and one axis less or more."""
    for axis, size in enumerate(spec.shape):
        yield spec.with_shape((*spec.shape[:axis], size + 1, *spec.shape[axis + 1 :]))
    yield spec.with_shape(spec.shape[1:])
    yield spec.with_shape((2, *spec.shape))


def filled(spec: Spec) -> Array:
    """Ones, of which each is the largest, or zeros where they may be indices."""
    return np.full(spec.shape, spec.dtype == "float32", spec.numpy_dtype)


@pytest.mark.parametrize(("op", "specs"), USES, ids=[op.name for op, _ in USES])
def test_other_shapes_are_refused_or_computed(op: Op, specs: list[Spec]) -> None:
    """No kernel reads or writes past the end of an array: guards around all of them are no numbers."""
    for place, spec in enumerate(specs):
        for other in others(spec):
            changed = [*specs[:place], other, *specs[place + 1 :]]
            try:
                op.infer_outputs(changed)
            except ShapeError:
                continue
            for kernel in applicable_kernels(op, "cpu", changed):
                with np.errstate(divide="ignore"):  # by how many numbers are the largest, of which there are none
                    outputs = call_kernel(kernel, op, [filled(one) for one in changed])
                assert not any(np.isnan(y).any() for y in outputs), (
                    f"{kernel.algorithm}: {', '.join(map(str, changed))}"
                )


@pytest.mark.parametrize(("op", "specs"), USES, ids=[op.name for op, _ in USES])
def test_bytes_are_not_read_as_if_they_were_floats(op: Op, specs: list[Spec]) -> None:
    """An input of another type than the others is refused, or left to the naive kernel, which knows all types."""
    for place, spec in enumerate(specs):
        if op.input_names[place] in op.shape_only:
            continue
        changed = [*specs[:place], dataclasses.replace(spec, dtype="int8"), *specs[place + 1 :]]
        try:
            op.infer_outputs(changed)
        except ShapeError:
            continue
        modules = {kernel.function.__module__ for kernel in applicable_kernels(op, "cpu", changed)}
        assert all(module.startswith("edge_sdk.kernels.reference.") for module in modules)


def test_every_gradient_operator_is_looked_at() -> None:
    """The rows are or lead to all of them."""
    own = {name for name, op in OPERATORS.items() if op.__module__.startswith("edge_sdk.ops.")}

    assert {op.name for op, _ in USES} == {name for name in own if name.endswith("_grad")}
