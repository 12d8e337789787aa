"""Integers for the weights of one layer: rounding with feedback of the error, then descent along single weights.

Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", 2022 (https://arxiv.org/abs/2210.17323): weights are rounded one after the other, and those to come take
back what each rounding changes. Li, Yin, Lee, Xiao, Panda, "GPTAQ: Efficient Finetuning-Free Quantization for
Asymmetric Calibration", 2025 (https://arxiv.org/abs/2504.02692): and also what the layers before have changed. Nair,
Suggala, "CDQuant: Greedy Coordinate Descent for Accurate LLM Quantization", 2024 (https://arxiv.org/abs/2406.17542):
descent after it finds what is left.

All of it goes through the inputs a block at a time, with the difference that is left in the outputs carried from block
to block. So what is needed besides the rows is the square of a block, however many inputs the layer has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edge_sdk.spec import Array

FEEDBACK_BLOCK = 512
"""Inputs among which an error is fed back at once; the next block starts from what they leave."""
BLOCK = 64
"""Inputs whose slopes are kept up to date weight by weight; those of others follow by one product."""
LEAST_SHARE = 0.05
"""A channel is never taken to follow its weights in a smaller share of rows, so that steps stay small."""


@dataclass(frozen=True)
class Problem:
    """‖f(x · w + b) - y‖² + ridge · Σ ‖x_j‖² (w_j - v_j)² over rows: v are float weights, w integers times a scale.

    Everything has its groups of channels first: m output channels of a group see the same d inputs.

    Attributes:
        inputs: float32 (groups, rows, d).
        targets: float32 (groups, rows, m).
        weights: v, float32 (groups, d, m).
        scales: One a channel, (groups, 1, m).
        bias: (groups, 1, m), or 0.
        activation: f: None, "relu" or "relu6".
        largest: The largest stored weight; the smallest is as far from 0.
        ridge: How much a change costs of what it would cost if each input came alone; above 0.
    """

    inputs: Array
    targets: Array
    weights: Array
    scales: Array
    bias: Array | float
    activation: str | None
    largest: int
    ridge: float

    @cached_property
    def wanted(self) -> Array:
        """The targets in steps of the scales, less the bias: what sums of products with integers are compared to."""
        return np.asarray((self.targets - self.bias) / self.scales, np.float32)

    @cached_property
    def follows(self) -> tuple[Array, Array] | None:
        """Where the wanted output is not at the lower, and not at the upper limit of the activation."""
        if self.activation is None:
            return None
        return self.targets > 0, self.targets < (6.0 if self.activation == "relu6" else np.inf)

    @cached_property
    def share(self) -> Array:
        """In which share of the rows a channel follows its weights, (groups, 1, m)."""
        if self.follows is None:
            return np.ones_like(self.scales)
        share = np.logical_and(*self.follows).mean(axis=1, keepdims=True, dtype=np.float32)
        return np.asarray(np.maximum(share, np.float32(LEAST_SHARE)))

    @cached_property
    def power(self) -> Array:
        """‖x_j‖² of every input, (groups, d)."""
        return np.asarray(np.einsum("gnd,gnd->gd", self.inputs, self.inputs))

    def blocks(self, size: int) -> Iterator[tuple[slice, Array, Array]]:
        """Yield which inputs, a view of them, (groups, rows, size), and their weights in steps."""
        for start in range(0, self.inputs.shape[2], size):
            columns = slice(start, start + size)
            yield columns, self.inputs[:, :, columns], self.weights[:, columns] / self.scales

    def limits(self, exact: Array) -> tuple[Array, Array]:
        """Return the lower and the upper integer for weights in steps."""
        low = np.floor(exact)
        return np.maximum(low, -self.largest), np.minimum(low + 1, self.largest)

    def differences(self, sums: Array) -> Array:
        """Return what is too much in sums (groups, rows, m), in steps.

        Below a wanted 0 of a ReLU nothing is too little, and above a wanted 6 of a ReLU6 nothing too much. Where the
        wanted output follows, the whole difference counts also if the activation hides a part, so that it is convex.
        """
        found = sums - self.wanted
        if self.follows is not None:
            above, below = self.follows
            np.maximum(found, 0, out=found, where=~above)
            np.minimum(found, 0, out=found, where=~below)
        return found

    def products(self, stored: Array) -> Array:
        """Return sums of products (groups, rows, m) of the inputs and integers (groups, d, m)."""
        sums = np.zeros_like(self.wanted)
        for columns, x, _ in self.blocks(FEEDBACK_BLOCK):
            sums += x @ stored[:, columns].astype(np.float32)
        return sums

    def costs(self, stored: Array, sums: Array) -> Array:
        """Return what integers cost in each channel, (groups, 1, m)."""
        cost = np.square(self._true_differences(sums), dtype=np.float64).sum(axis=1, keepdims=True)
        for columns, _, exact in self.blocks(FEEDBACK_BLOCK):
            away = np.square(stored[:, columns] - exact, dtype=np.float64)
            cost += self.ridge * self.share * (self.power[:, np.newaxis, columns] @ away)
        return np.asarray(cost)

    def _true_differences(self, sums: Array) -> Array:
        if self.activation is None:
            return self.differences(sums)
        high = 6.0 if self.activation == "relu6" else np.inf
        return (np.clip(sums * self.scales + self.bias, 0, high) - self.targets) / self.scales


def fed_back(problem: Problem) -> Array:
    """Return int8 weights (groups, d, m), rounded block after block, each error fed back to the weights to come.

    In a block the strongest inputs come first: what is rounded last is taken back by nothing.
    """
    stored = np.empty(problem.weights.shape, np.int8)
    sums = np.zeros_like(problem.wanted)
    for _, x, exact in problem.blocks(FEEDBACK_BLOCK):
        sums += x @ exact
    for columns, x, exact in problem.blocks(FEEDBACK_BLOCK):
        transposed = x.transpose(0, 2, 1)
        hessian = _with_ridge(transposed @ x, problem.ridge)
        slopes = transposed @ problem.differences(sums)
        wanted = exact - np.linalg.solve(hessian, slopes).astype(np.float32) / problem.share
        order = np.argsort(-problem.power[:, columns].sum(axis=0), kind="stable")
        inverse = np.linalg.inv(hessian[:, order][:, :, order])
        # The inverse's upper factor: its rows are what is left of the inverse as weights before them are settled.
        upper = np.linalg.cholesky(inverse).transpose(0, 2, 1).astype(np.float32)
        rounded = np.empty_like(exact)
        rounded[:, order] = _rounded(wanted[:, order], upper, *(limit[:, order] for limit in problem.limits(exact)))
        stored[:, columns] = rounded
        sums += x @ (rounded - exact)
    return stored


def descended(problem: Problem, starts: Sequence[Array], sweeps: int) -> Array:
    """Return for each channel the cheapest of some int8 weights and what descent makes of the last of them.

    One weight at a time goes to the integer at which its channel's cost is least, all others held.
    """
    current = starts[-1].copy()
    sums = problem.products(current)
    best, least = current.copy(), problem.costs(current, sums)

    def keep_better(stored: Array, of_stored: Array) -> None:
        nonlocal best, least
        better = of_stored < least
        best, least = np.where(better, stored, best), np.minimum(of_stored, least)

    for start in starts[:-1]:
        keep_better(start, problem.costs(start, problem.products(start)))
    for _ in range(sweeps):
        if not _sweep(problem, current, sums):
            break
        keep_better(current, problem.costs(current, sums))
    return np.asarray(best)


def _sweep(problem: Problem, current: Array, sums: Array) -> bool:
    """Look at each weight once, changing integers and sums in place; return whether one changed."""
    moved = False
    for columns, x, exact in problem.blocks(BLOCK):
        transposed = x.transpose(0, 2, 1)
        gram = transposed @ x  # (groups, block, block)
        power = problem.power[:, columns, np.newaxis]
        pull = problem.ridge * power * problem.share
        before = current[:, columns].astype(np.float32)
        slopes = transposed @ problem.differences(sums) + pull * (before - exact)
        curvature = np.maximum(power * problem.share + pull, np.finfo(np.float32).tiny)
        low, high = problem.limits(exact)
        after = before.copy()
        for index in range(x.shape[2]):
            best = np.rint(after[:, index] - slopes[:, index] / curvature[:, index])
            best = np.clip(best, low[:, index], high[:, index])
            step = best - after[:, index]  # (groups, m)
            slopes += gram[:, :, index, np.newaxis] * (step * problem.share[:, 0])[:, np.newaxis]
            slopes[:, index] += pull[:, index] * step
            after[:, index] = best
        change = after - before
        if change.any():
            moved = True
            current[:, columns] = after
            sums += x @ change
    return moved


def _with_ridge(gram: Array, ridge: float) -> Array:
    """Return a Gram matrix as float64, its diagonal raised by a share of it; inputs that are always 0 stand alone."""
    raised = gram.astype(np.float64)
    diagonal = np.einsum("gdd->gd", raised)  # a view
    diagonal *= 1 + ridge
    diagonal[diagonal == 0] = 1
    return raised


def _rounded(wanted: Array, upper: Array, low: Array, high: Array) -> Array:
    """Return integers for weights (groups, d, m), the first rounded first; `wanted` is used up."""
    rounded = np.empty_like(wanted)
    for start in range(0, wanted.shape[1], BLOCK):
        stop = min(start + BLOCK, wanted.shape[1])
        errors = np.empty_like(wanted[:, start:stop])
        for index in range(start, stop):
            rounded[:, index] = np.clip(np.rint(wanted[:, index]), low[:, index], high[:, index])
            error = (wanted[:, index] - rounded[:, index]) / upper[:, index, index, np.newaxis]
            wanted[:, index:stop] -= upper[:, index, index:stop, np.newaxis] * error[:, np.newaxis]
            errors[:, index - start] = error
        wanted[:, stop:] -= upper[:, start:stop, stop:].transpose(0, 2, 1) @ errors
    return rounded
