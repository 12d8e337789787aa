"""Scales of weights that make the rounded ones as near as can be, instead of covering the largest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_sdk.quantization.candidate import Candidate
from edge_sdk.quantization.parameters import along_axis, round_weights, weight_parameters
from edge_sdk.quantization.rules import WEIGHT_AXIS, precision_of, weight_axis, weight_bits
from edge_sdk.spec import Array, QuantParams, Value

SHARES = np.linspace(1, 0.4, 61)
"""Of the largest magnitude, tried one after the other."""


def weights_by_mse(candidate: Candidate) -> Candidate:
    """Return the candidate with weight scales that have the least mean square error, per channel where there is one.

    Every scale is a share of the one that covers the largest weight; of equally good ones the largest is taken. Weights
    whose stored integers were decided keep their scales, for those integers mean nothing under others. Depends on the
    weights alone: it needs no photo, and holds until weights change.
    """
    decided = dict(candidate.weight_parameters)
    done: set[Value] = set()
    for node in candidate.graph.nodes:
        integers = type(node.op) in WEIGHT_AXIS and precision_of(node, candidate.scheme) != "float32"
        if not integers or node.inputs[1] in done or node.inputs[1] in candidate.rounded:
            continue
        done.add(node.inputs[1])
        weights = candidate.workspace[node.inputs[1]]
        decided[node.inputs[1]] = least_square_error(
            weights, weight_axis(node, candidate.scheme), weight_bits(node, candidate.scheme)
        )
    return replace(candidate, weight_parameters=decided)


def least_square_error(weights: Array, axis: int | None, bits: int = 8) -> QuantParams:
    """Return the symmetric parameters, per index of `axis` or for the tensor, that minimise Σ (stored - real)²."""
    others = tuple(index for index in range(weights.ndim) if index != axis) if axis is not None else None
    covering = weight_parameters(weights, axis, bits)
    largest = np.asarray(covering.scale, np.float32)
    best, least = largest, np.full(largest.shape, np.inf)
    for share in SHARES:
        scales = (largest * share).astype(np.float32)
        quant = replace(covering, scale=tuple(float(scale) for scale in scales))
        found = round_weights(weights, quant) * along_axis(quant.scale, axis, weights.ndim)
        error = ((found - weights.astype(np.float64)) ** 2).sum(axis=others).reshape(-1)
        better = error < least
        best, least = np.where(better, scales, best), np.where(better, error, least)
    return replace(covering, scale=tuple(float(scale) for scale in best))
