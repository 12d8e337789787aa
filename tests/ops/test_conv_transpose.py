"""What a transposed convolution refuses, and that it undoes a convolution's shapes."""

from __future__ import annotations

import pytest

from edge_sdk.errors import ShapeError
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D
from edge_sdk.spec import Spec

X, W = Spec((1, 5, 5, 4)), Spec((6, 3, 3, 4))


@pytest.mark.parametrize(
    ("op", "shapes", "message"),
    [
        (ConvTranspose2D(), (X, Spec((6, 3, 3, 5))), "x has 4 channels but w expects 5"),
        (ConvTranspose2D(groups=4), (X, Spec((6, 3, 3, 1))), "4 groups do not divide 4 inputs and 6 outputs"),
        (ConvTranspose2D(), (X, Spec((6, 3, 3))), "wanted \\(k, r, s, c / groups\\)"),
        (ConvTranspose2D(), (X, W, Spec((5,))), "b is f32\\[5\\], wanted one number for each of the 6 outputs"),
        (ConvTranspose2D(padding=((4, 4), (0, 0))), (X, W), "leaves nothing"),
        (ConvTranspose2D(stride=(2, 2), output_padding=(2, 0)), (X, W), "must be smaller than the stride"),
        (ConvTranspose2D(stride=(0, 1)), (X, W), "must be 1 or more"),
    ],
)
def test_impossible_geometry_is_refused(op: ConvTranspose2D, shapes: tuple[Spec, ...], message: str) -> None:
    """The error names the operator and what does not fit."""
    with pytest.raises(ShapeError, match=f"conv_transpose2d: .*{message}"):
        op.infer(*shapes)


@pytest.mark.parametrize("size", [7, 8])
def test_it_restores_the_size_that_a_convolution_took(size: int) -> None:
    """With the same geometry, and the output padding that the size needs, the way back ends where it began."""
    forward = Conv2D((2, 2), ((1, 1), (1, 1)))
    smaller = forward.infer(Spec((1, size, size, 6)), Spec((4, 3, 3, 6)))

    more = (size + 1) % 2
    back = ConvTranspose2D((2, 2), ((1, 1), (1, 1)), output_padding=(more, more))

    assert back.infer(smaller, Spec((6, 3, 3, 4))).shape == (1, size, size, 6)
