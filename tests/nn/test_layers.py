"""Layers of `nn`: parameter names, shapes and initial values, and what they compute, against plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_sdk.errors import GraphError, ShapeError, UsageError
from edge_sdk.nn import ACTIVATIONS, Network
from edge_sdk.session import Session
from edge_sdk.spec import Array, Value

X = np.random.default_rng(0).standard_normal((2, 6, 5, 3), np.float32)


@pytest.fixture
def net() -> Network:
    """A network for images of 6 × 5 pixels and 3 channels."""
    return Network("net", (6, 5, 3))


def run(net: Network, *values: Value) -> list[Array]:
    """Compute values on X by the reference kernels."""
    result = Session(net.builder.build(*values), net.workspace, device="reference", batch=len(X)).run({"image": X})
    return [result[value] for value in values]


def shapes(net: Network) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters, in order."""
    return {name: array.shape for name, array in net.workspace.items()}


def test_parameters_are_named_after_their_layer(net):
    """Every layer's parameters are `<layer>.<part>`, in the layouts (k, r, s, c), (1, r, s, c) and (out, in)."""
    x = net.conv(net.image, 8, 3, "stem.conv", bias=True)
    x = net.batch_norm(x, "stem.norm")
    x = net.depthwise(x, 5, "block.depthwise")
    x = net.conv(x, 4, 1, "block.conv", groups=2)
    x = net.linear(net.flatten(x), 7, "dense")
    graph, workspace = net.head(x, 2)

    assert shapes(net) == {
        "stem.conv.weight": (8, 3, 3, 3),
        "stem.conv.bias": (8,),
        "stem.norm.scale": (8,),
        "stem.norm.offset": (8,),
        "stem.norm.mean": (8,),
        "stem.norm.variance": (8,),
        "block.depthwise.weight": (1, 5, 5, 8),
        "block.conv.weight": (4, 1, 1, 4),
        "dense.weight": (7, 120),
        "dense.bias": (7,),
        "head.weight": (2, 7),
        "head.bias": (2,),
    }
    assert tuple(shapes(net)) == graph.params
    assert workspace is net.workspace
    assert str(graph.specs[graph.value("logits")]) == "f32[n,2]"


def test_initial_values_are_those_of_the_layers(net):
    """He for convolutions by the number of outgoing connections, Xavier for dense layers, 0 and 1 for the rest."""
    x = net.batch_norm(net.conv(net.image, 256, 5, "conv", bias=True), "norm")
    x = net.depthwise(x, 5, "depthwise")
    net.linear(net.global_average_pool(x), 244, "dense")
    net.head(net.global_average_pool(x), 100)

    weights = net.workspace
    assert weights["conv.weight"].std() == pytest.approx(math.sqrt(2 / (25 * 256)), rel=0.05)
    assert weights["depthwise.weight"].std() == pytest.approx(math.sqrt(2 / 25), rel=0.05)
    assert np.abs(weights["dense.weight"]).max() == pytest.approx(math.sqrt(6 / (256 + 244)), rel=0.01)
    assert np.abs(weights["head.weight"]).max() == pytest.approx(0.02, rel=0.01)
    for name, value in {"norm.scale": 1, "norm.variance": 1, "norm.offset": 0, "norm.mean": 0}.items():
        assert (weights[name] == value).all()
    for name in ("conv.bias", "dense.bias", "head.bias"):
        assert not weights[name].any()


def test_one_layer_more_changes_no_other(net):
    """Initial weights depend on the seed and the name, not on the order of the layers."""
    other, reseeded = Network("other", (6, 5, 3)), Network("net", (6, 5, 3), seed=1)

    net.conv(net.image, 4, 3, "a")
    other.conv(other.conv(other.image, 3, 1, "before"), 4, 3, "a")
    reseeded.conv(reseeded.image, 4, 3, "a")

    assert np.array_equal(net.workspace["a.weight"], other.workspace["a.weight"])
    assert not np.array_equal(net.workspace["a.weight"], reseeded.workspace["a.weight"])


def test_two_layers_of_one_name_are_refused(net):
    """Two layers cannot own one parameter by accident."""
    net.conv(net.image, 4, 3, "a")

    with pytest.raises(GraphError, match=r"already has a value 'a\.weight'"):
        net.conv(net.image, 4, 3, "a")


def test_convolution_of_one_pixel_is_a_matrix_product(net):
    """A 1 × 1 convolution is the same dense layer at each pixel."""
    y = net.conv(net.image, 4, 1, "conv", bias=True)
    net.workspace["conv.bias"] = np.arange(4, dtype=np.float32)

    (found,) = run(net, y)

    wanted = X.astype(np.float64) @ net.workspace["conv.weight"].reshape(4, 3).T + np.arange(4)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({}, (6, 5)),
        ({"stride": 2}, (3, 3)),
        ({"padding": "valid"}, (4, 3)),
        ({"padding": 1, "stride": 2}, (3, 3)),
        ({"padding": ((2, 0), (0, 0))}, (6, 3)),
        ({"dilation": 2, "padding": "valid"}, (2, 1)),
    ],
)
def test_stride_padding_and_dilation_decide_the_size(arguments, size, net):
    """Sizes by hand for a 3 × 3 convolution of a 6 × 5 image."""
    y = net.conv(net.image, 4, 3, "conv", **arguments)

    assert net.builder.spec(y).shape == (-1, *size, 4)


def test_batch_norm_is_its_formula(net):
    """(x - mean) / √(variance + ε) · scale + offset."""
    y = net.batch_norm(net.image, "norm", epsilon=0.5)
    values = {"scale": 2.0, "offset": -1.0, "mean": 0.25, "variance": 3.5}
    for part, value in values.items():
        net.workspace[f"norm.{part}"] = np.full(3, value, np.float32)

    (found,) = run(net, y)

    np.testing.assert_allclose(found, (X - 0.25) / 2 * 2 - 1, rtol=1e-6, atol=1e-6)


def test_residual_adds_what_went_in(net):
    """body(x) + x, then the activation."""
    y = net.residual(net.image, lambda x: net.conv(x, 3, 1, "conv"), activation="relu")

    (found,) = run(net, y)

    wanted = np.maximum(X @ net.workspace["conv.weight"].reshape(3, 3).T + X, 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_residual_with_a_shortcut_adds_that(net):
    """body(x) + shortcut(x), without an activation."""
    y = net.residual(net.image, lambda x: net.conv(x, 4, 1, "body"), lambda x: net.conv(x, 4, 1, "shortcut"))

    (found,) = run(net, y)

    weights = net.workspace["body.weight"] + net.workspace["shortcut.weight"]
    np.testing.assert_allclose(found, X @ weights.reshape(4, 3).T, rtol=1e-5, atol=1e-6)


def test_a_residual_that_does_not_fit_is_refused(net):
    """A body that changes the shape needs a shortcut; the message shows both shapes."""
    with pytest.raises(ShapeError, match=r"f32\[n,3,3,4\].*f32\[n,6,5,3\]"):
        net.residual(net.image, lambda x: net.conv(x, 4, 3, "conv", stride=2))


def test_sequential_applies_the_layers_in_order(net):
    """relu(-x) is not -relu(x)."""
    layers = [lambda x: net.batch_norm(x, "flip"), lambda x: net.activation(x, "relu"), net.global_average_pool]
    y = net.sequential(net.image, layers)
    net.workspace["flip.scale"] = -np.ones(3, np.float32)

    (found,) = run(net, y)

    np.testing.assert_allclose(found, np.maximum(-X, 0).mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
    assert net.sequential(net.image, []) == net.image


def test_pools_and_flatten(net):
    """The largest number of each window, means over the image and over a grid, and all pixels in a row."""
    largest, mean, grid, flat, same = run(
        net,
        net.max_pool(net.image, 2, 2),
        net.global_average_pool(net.image),
        net.adaptive_average_pool(net.image, (3, 1)),
        net.flatten(net.image),
        net.dropout(net.image, 0.5),
    )

    np.testing.assert_array_equal(largest, X[:, :, :4].reshape(2, 3, 2, 2, 2, 3).max(axis=(2, 4)))
    np.testing.assert_allclose(mean, X.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(grid, X.reshape(2, 3, 2, 5, 3).mean(axis=(2, 3))[:, :, None], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(flat, X.reshape(2, 90))
    np.testing.assert_array_equal(same, X)  # dropout drops in training only


def test_a_pool_may_keep_the_last_partial_window(net):
    """Five columns in windows of two: two, or three where the last is half empty."""
    kept = net.max_pool(net.image, 2, 2, ceil=True)

    assert net.builder.spec(kept).shape == (-1, 3, 3, 3)


FORMULAS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "silu": lambda x: x / (1 + np.exp(-x)),
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations_by_name(kind, net):
    """Each name gives the function of that name."""
    (found,) = run(net, net.activation(net.image, kind))

    np.testing.assert_allclose(found, FORMULAS[kind](X), rtol=1e-5, atol=1e-6)


def test_an_unknown_activation_is_explained(net):
    """The known ones are listed, the nearest is suggested."""
    with pytest.raises(UsageError, match=r"'hardswish' is not one of relu, .*; did you mean 'hard_swish'"):
        net.activation(net.image, "hardswish")


@pytest.mark.parametrize("groups", [2, 0, -1])
def test_groups_must_divide_the_channels(groups, net):
    """Three channels have no two equal groups."""
    with pytest.raises(ShapeError, match="group"):
        net.conv(net.image, 4, 3, "conv", groups=groups)


def test_a_gate_scales_each_channel(net):
    """Squeeze-and-excitation: two dense layers on the means, hard sigmoid, a product (Hu et al. 2018)."""
    y = net.squeeze_and_excite(net.image, 8, "gate")
    assert shapes(net) == {
        "gate.squeeze.weight": (8, 1, 1, 3),
        "gate.squeeze.bias": (8,),
        "gate.excite.weight": (3, 1, 1, 8),
        "gate.excite.bias": (3,),
    }
    net.workspace["gate.squeeze.bias"] = np.full(8, 0.5, np.float32)

    (found,) = run(net, y)

    weights = [net.workspace[f"gate.{part}.weight"][:, 0, 0] for part in ("squeeze", "excite")]
    hidden = np.maximum(X.mean((1, 2)) @ weights[0].T + 0.5, 0)
    gate = np.clip(hidden @ weights[1].T / 6 + 0.5, 0, 1)
    np.testing.assert_allclose(found, X * gate[:, np.newaxis, np.newaxis], rtol=1e-5, atol=1e-6)


def test_channels_are_joined_and_halved(net):
    """In order; the halves of two copies are the copies."""
    joined = net.concat([net.image, net.image])

    whole, first, second = run(net, joined, *net.halves(joined))

    np.testing.assert_array_equal(whole, np.concatenate([X, X], axis=3))
    np.testing.assert_array_equal(first, X)
    np.testing.assert_array_equal(second, X)


def test_responses_are_normalised_by_their_neighbours(net):
    """Three channels within five: all squares count, alpha divided by five."""
    (found,) = run(net, net.local_response_norm(net.image, 5, 2.0, 0.75))

    np.testing.assert_allclose(found, X / (1 + 2.0 / 5 * (X**2).sum(3, keepdims=True)) ** 0.75, rtol=1e-5)


def test_windows_are_averaged(net):
    """Two by two."""
    (found,) = run(net, net.average_pool(net.image, 2, 2))

    np.testing.assert_allclose(found, X[:, :, :4].reshape(2, 3, 2, 2, 2, 3).mean((2, 4)), rtol=1e-5, atol=1e-6)


def test_a_convolutional_head(net):
    """1×1 convolution, relu, mean over the image; its parameters are called head (Lin et al. 2014)."""
    graph, workspace = net.convolutional_head(net.image, 2)
    assert shapes(net) == {"head.weight": (2, 1, 1, 3), "head.bias": (2,)}
    workspace["head.weight"] = np.arange(6, dtype=np.float32).reshape(2, 1, 1, 3) - 2

    found = Session(graph, workspace, device="reference", batch=len(X)).run({"image": X})["logits"]

    wanted = np.maximum(X @ workspace["head.weight"][:, 0, 0].T, 0).mean((1, 2))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_stages_are_remembered(net):
    """In the order in which they were named; the value is handed back."""
    first = net.stage(net.max_pool(net.image, 2, 2))
    second = net.stage(net.max_pool(first, 2, 2))

    assert net.stages == [first, second]
