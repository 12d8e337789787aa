"""Losses."""

from __future__ import annotations

from edge_sdk.converters.onnx.call import Call
from edge_sdk.converters.onnx.layout import channels_last
from edge_sdk.converters.onnx.read_activation import log_softmax_of
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Held, Tensor
from edge_sdk.ops.elementwise import Div, Mul, Neg
from edge_sdk.ops.indexing import Gather, OneHot
from edge_sdk.ops.logic import Compare, Where
from edge_sdk.ops.reduce import ReduceMean, ReduceSum


@reads("NegativeLogLikelihoodLoss")
def negative_log_likelihood(c: Call) -> Tensor:
    """-weight[label] · x[label], the class on the second axis."""
    return _loss(c, c.images(c.input(0)))


@reads("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(c: Call) -> tuple[Tensor | None, ...]:
    """The same of the logarithms of softmax, which are the second output."""
    x = c.input(0)
    logarithms = log_softmax_of(c, c.images(x), (x.rank - 1,), last=True)
    return _loss(c, logarithms), c.tensor(logarithms, channels_last(x.rank))


def _loss(c: Call, logarithms: Held) -> Tensor:
    """One number for each label held as the pixels are, or their mean (by weight) or sum."""
    labels = c.input(1)
    classes = c.shape(logarithms)[-1]
    whole = c.cast(c.plain(labels), "int64")
    hot = c.cast(c.apply(OneHot(classes), whole), c.dtype(logarithms))
    picked = c.apply(ReduceSum((labels.rank,)), c.apply(Mul(), logarithms, hot))
    losses = c.apply(Neg(), picked)
    weights: Held | None = None
    if c.has(2):
        known = c.apply(Gather(0), c.plain(c.input(2)), whole)
        weights = c.cast(known, c.dtype(losses))
    if c.given("ignore_index"):
        ignored = c.apply(Compare("equal"), whole, c.number(c.integer("ignore_index"), whole))
        one = c.number(1.0, losses) if weights is None else weights
        weights = c.apply(Where(), ignored, c.number(0.0, losses), one)
    if weights is not None:
        losses = c.apply(Mul(), losses, weights)
    reduction = c.text("reduction", "mean")
    axes = tuple(range(labels.rank))
    if reduction == "none":
        return c.result(losses)
    if reduction == "sum":
        return c.result(c.apply(ReduceSum(axes), losses))
    if weights is None:
        return c.result(c.apply(ReduceMean(axes), losses))
    total = c.apply(ReduceSum(axes), c.translation.broadcast(weights, c.shape(losses)))
    return c.result(c.apply(Div(), c.apply(ReduceSum(axes), losses), total))
