"""Matrix products."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.converters.onnx.call import Call, described
from edge_sdk.converters.onnx.layout import Layout, plain
from edge_sdk.converters.onnx.reshaping import expanded, reshaped, transposed
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add, Mul
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.spec import BATCH


@reads("Gemm")
def gemm(c: Call) -> Tensor:
    """Y = alpha · A · B + beta · C; by constant weights it is a dense layer."""
    a, b = c.input(0), c.input(1)
    if a.rank != 2 or b.rank != 2:
        raise c.unsupported(f"A has shape {a.shape}, B {b.shape}; wanted matrices")
    a = transposed(c, a, (1, 0)) if c.integer("transA", 0) else a
    b = transposed(c, b, (1, 0)) if c.integer("transB", 0) else b
    alpha, beta = c.real("alpha", 1.0), c.real("beta", 1.0)
    addend = c.optional(2)
    weights = b.array
    if weights is not None and addend is not None and _fits_bias(addend, b.shape[1]) and beta and a.dtype == "float32":
        offset = np.broadcast_to(addend.array.reshape(-1), (b.shape[1],)) if addend.array is not None else None
        if offset is not None:
            bias = Constant(offset if beta == 1.0 else (offset * beta).astype(offset.dtype), addend.name)
            return dense(c, a, _scaled(c, weights, alpha), b.name, bias)
    y = dense(c, a, _scaled(c, weights, alpha), b.name) if weights is not None else product(c, a, b)
    if alpha != 1.0 and weights is None:
        y = c.tensor(c.apply(Mul(), y.held, c.number(alpha, y)), y.layout)
    if addend is None or beta == 0.0:
        return y
    held, layout = c.aligned([y, addend])
    scaled = held[1] if beta == 1.0 else c.apply(Mul(), held[1], c.number(beta, y))
    return c.tensor(c.apply(Add(), held[0], scaled), layout)


def _fits_bias(addend: Tensor, columns: int) -> bool:
    return addend.shape in ((columns,), (1, columns), (), (1,), (1, 1)) and addend.array is not None


def _scaled(c: Call, weights: np.ndarray, alpha: float) -> np.ndarray:
    if alpha == 1.0:
        return weights
    c.translation.budget.take(weights.nbytes, described(c.node))
    return (weights * alpha).astype(weights.dtype)


def dense(c: Call, a: Tensor, weights: np.ndarray, name: str, *bias: Held) -> Tensor:
    """A (n, k) · weights (k, out): flattened images are met by weights in the order of their columns."""
    if a.shape[1] != weights.shape[0]:
        raise c.unsupported(f"A has shape {a.shape}, B {weights.shape}")
    if a.layout.inner:
        c.translation.budget.take(weights.nbytes, described(c.node))
    by_output = a.layout.hold(weights.T) if a.layout.inner else weights.T
    layout = a.layout if a.layout.inner else plain(2)
    return c.result(c.apply(Linear(), c.translation.hold(a, layout), Constant(by_output, name), *bias))


@reads("MatMul")
def matmul(c: Call) -> Tensor:
    """NumPy's matmul."""
    return product(c, c.input(0), c.input(1))


def product(c: Call, a: Tensor, b: Tensor) -> Tensor:
    """The product of two tensors of any rank, as NumPy's matmul."""
    if not a.rank or not b.rank:
        raise c.unsupported(f"A has shape {a.shape}, B {b.shape}")
    weights = b.array
    if weights is not None and weights.ndim == 2 and a.rank >= 2 and a.array is None and a.dtype == "float32":
        if a.rank == 2:
            return dense(c, a, weights, b.name)
        return _dense_on_last(c, a, weights, b.name)
    if a.array is not None and a.rank == 2 and b.rank > 2:  # a · b is (bᵀ · aᵀ)ᵀ, with the constant on the right
        swapped = (*range(b.rank - 2), b.rank - 1, b.rank - 2)
        return transposed(c, product(c, transposed(c, b, swapped), transposed(c, a, (1, 0))), swapped)
    row, column = a.rank == 1, b.rank == 1
    a = expanded(c, a, (0,)) if row else a
    b = expanded(c, b, (1,)) if column else b
    y = _batched(c, a, b)
    dropped = tuple(axis for axis, drop in ((y.rank - 2, row), (y.rank - 1, column)) if drop)
    return reshaped(c, y, tuple(size for axis, size in enumerate(y.shape) if axis not in dropped)) if dropped else y


def _dense_on_last(c: Call, a: Tensor, weights: np.ndarray, name: str) -> Tensor:
    """A (n, …, k) · weights (k, out), as a convolution of one pixel, which an open batch can be."""
    if a.shape[-1] != weights.shape[0]:
        raise c.unsupported(f"A has shape {a.shape}, B {weights.shape}")
    order = tuple(axis for axis in a.layout.order if axis != a.rank - 1)
    layout = Layout((*order, a.rank - 1))
    held = c.translation.hold(a, layout)
    n, *middle, k = c.shape(held)
    rows = c.translation.reshape(held, (n, 1, math.prod(middle), k))
    by_output = Constant(weights.T[:, np.newaxis, np.newaxis, :], name)
    y = c.apply(Conv2D(), rows, by_output)
    return c.tensor(c.translation.reshape(y, (n, *middle, weights.shape[1])), layout)


def _batched(c: Call, a: Tensor, b: Tensor) -> Tensor:
    rank = max(a.rank, b.rank)
    a = expanded(c, a, tuple(range(rank - a.rank))) if a.rank < rank else a
    b = expanded(c, b, tuple(range(rank - b.rank))) if b.rank < rank else b
    lead = tuple(
        n if m == 1 else m if n == 1 or m == n else -2 for m, n in zip(a.shape[:-2], b.shape[:-2], strict=True)
    )
    if -2 in lead or a.shape[-1] != b.shape[-2]:
        raise c.unsupported(f"A has shape {a.shape}, B {b.shape}")
    (left, flip_left), (right, flip_right) = _matrices(c, a), _matrices(c, b)
    left = c.translation.broadcast(left, (*lead, *c.shape(left)[-2:]))
    right = c.translation.broadcast(right, (*lead, *c.shape(right)[-2:]))
    y = c.apply(MatMul(transpose_a=flip_left, transpose_b=flip_right), left, right)
    return c.result(y)


def _matrices(c: Call, x: Tensor) -> tuple[Held, bool]:
    """Matrices as held, and whether they are held transposed."""
    flipped = Layout((*range(x.rank - 2), x.rank - 1, x.rank - 2))
    if x.layout == flipped:
        return x.held, True
    return c.plain(x), False


@reads("Einsum")
def einsum(c: Call) -> Tensor:
    """Einstein's sums: products of matrices, after sums over what only one operand has."""
    equation = c.text("equation").replace(" ", "")
    sources, arrow, target = equation.partition("->")
    terms = sources.split(",")
    operands = [c.input(index) for index in range(len(c.inputs))]
    if len(terms) != len(operands) or len(operands) > 2:
        raise c.unsupported(f"equation {equation!r} of {len(operands)} operands; one or two are read")
    terms, free = _without_ellipsis(c, terms, operands)
    letters = "".join(terms)
    implied = free + "".join(sorted(each for each in set(letters) - set(free) if letters.count(each) == 1))
    target = target.replace("...", free) if arrow else implied
    if not set(target) <= set(letters) or len(set(target)) != len(target):
        raise c.unsupported(f"equation {equation!r}")
    reduced = [_summed(c, _diagonal(c, *pair), target, letters) for pair in zip(terms, operands, strict=True)]
    if len(reduced) == 1:
        term, x = reduced[0]
        return transposed(c, x, [term.index(letter) for letter in target])
    return _contracted(c, *reduced[0], *reduced[1], target)


def _without_ellipsis(c: Call, terms: list[str], operands: list[Tensor]) -> tuple[list[str], str]:
    """Name the axes that "…" stands for by capital Greek letters."""
    hidden = 0
    for term, x in zip(terms, operands, strict=True):
        if "..." in term:
            hidden = max(hidden, x.rank - len(term) + 3)
    names = "".join(chr(0x391 + index) for index in range(hidden))
    result = []
    for term, x in zip(terms, operands, strict=True):
        count = x.rank - len(term) + 3
        result.append(term.replace("...", names[len(names) - count :] if "..." in term and count > 0 else ""))
        if len(result[-1]) != x.rank:
            raise c.unsupported(f"{term!r} for an operand of shape {x.shape}")
    return result, names


def _diagonal(c: Call, term: str, x: Tensor) -> tuple[str, Tensor]:
    """A letter that a term names twice takes the diagonal."""
    from edge_sdk.ops.indexing import Gather

    while len(set(term)) != len(term):
        letter = next(each for each in term if term.count(each) > 1)
        first, second = term.index(letter), term.rindex(letter)
        size = x.shape[first]
        if x.shape[second] != size or size == BATCH:
            raise c.unsupported(f"{term!r} for an operand of shape {x.shape}")
        others = [axis for axis in range(x.rank) if axis not in (first, second)]
        y = transposed(c, x, [first, second, *others])
        flat = reshaped(c, y, (size * size, *y.shape[2:]))
        held = c.apply(Gather(0), c.plain(flat), Constant(c.translation.count(size) * (size + 1)))
        term, x = letter + "".join(term[axis] for axis in others), c.result(held)
    return term, x


def _summed(c: Call, named: tuple[str, Tensor], target: str, letters: str) -> tuple[str, Tensor]:
    """Sum over the letters that only this operand has and the result lacks."""
    term, x = named
    axes = tuple(axis for axis, letter in enumerate(term) if letter not in target and letters.count(letter) == 1)
    alone = len(set(letters)) == len(set(term)) and sorted(letters) == sorted(term)
    if alone:
        axes = tuple(axis for axis, letter in enumerate(term) if letter not in target)
    if not axes:
        return term, x
    y = c.result(c.apply(ReduceSum(axes), c.plain(x)))
    return "".join(letter for axis, letter in enumerate(term) if axis not in axes), y


def _contracted(c: Call, left: str, a: Tensor, right: str, b: Tensor, target: str) -> Tensor:
    """One product of matrices: shared letters that stay, those of one side, and those that are summed over."""
    batch = [each for each in left if each in right and each in target]
    inner = [each for each in left if each in right and each not in target]
    rows = [each for each in left if each not in right]
    columns = [each for each in right if each not in left]
    sizes = {**dict(zip(right, b.shape, strict=True)), **dict(zip(left, a.shape, strict=True))}
    for letter, size in zip(right, b.shape, strict=True):
        if sizes[letter] != size:
            raise c.unsupported(f"operands of shape {a.shape} and {b.shape} do not fit")

    def arranged(x: Tensor, term: str, *groups: list[str]) -> Tensor:
        y = transposed(c, x, [term.index(letter) for group in groups for letter in group])
        merged = tuple(math.prod(sizes[letter] for letter in group) for group in groups[1:])
        return reshaped(c, y, (*(sizes[letter] for letter in groups[0]), *merged))

    c.fixed(a)
    c.fixed(b)
    y = _batched(c, arranged(a, left, batch, rows, inner), arranged(b, right, batch, inner, columns))
    order = [*batch, *rows, *columns]
    full = reshaped(c, y, tuple(sizes[letter] for letter in order))
    return transposed(c, full, [order.index(letter) for letter in target])
