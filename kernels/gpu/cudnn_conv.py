"""Convolutions and their gradients by cuDNN, where it is installed and has an engine whose bytes are always the same.

They are alternatives to the kernels of conv.py, which compute all that is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from edge_sdk.errors import DeviceError
from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu import cudnn
from edge_sdk.kernels.gpu.cudnn_engines import Engines, engines_of
from edge_sdk.kernels.gpu.cudnn_graph import BIAS, IMAGE, RESIDUAL, RESULT, TYPES, WEIGHTS, Convolution, convolution
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.finishing import finished
from edge_sdk.kernels.gpu.launch import sequence
from edge_sdk.kernels.gpu.libraries import checked_address, workspace_address, workspace_specs
from edge_sdk.kernels.gpu.moments import gather
from edge_sdk.kernels.gpu.statistics import statistics_scratch
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput, Conv2DGradInputAdded, Conv2DGradWeight
from edge_sdk.ops.statistics import Conv2DStatistics
from edge_sdk.spec import Array, Spec, spec_of

ALGORITHMS = ("cudnn", "cudnn second", "cudnn third")
"""The names of its engines, in the order in which cuDNN expects them to be good."""
MOST_ELEMENTS = 2**31 - 1
"""Of a tensor: what every engine counts in 32 bits."""

WHOLE = ("cudnn whole", "cudnn whole second", "cudnn whole third")
"""The same of those that add bias and residual and apply the activation before a result is stored."""

Describe = Callable[..., Convolution]


def _forward(op: Conv2D | Conv2DStatistics, x: Spec, w: Spec, *rest: Spec) -> Convolution:
    plain = op.convolution if isinstance(op, Conv2DStatistics) else op
    return convolution(plain, "result", x.dtype, x.shape, w.shape, plain.infer(x, w).shape)


def _whole(op: Conv2D, x: Spec, w: Spec, b: Spec | None = None, residual: Spec | None = None) -> Convolution:
    """A convolution with all that follows it in its operator, computed before the result is stored."""
    return replace(_forward(op, x, w), biased=b is not None, added=residual is not None, activation=op.activation)


def _grad_input(op: Conv2DGradInput, dy: Spec, w: Spec) -> Convolution:
    return convolution(op, "image", dy.dtype, op.infer(dy, w).shape, w.shape, dy.shape)


def _grad_input_added(op: Conv2DGradInputAdded, dy: Spec, w: Spec, other: Spec) -> Convolution:
    return _grad_input(op.gradient, dy, w)


def _grad_weight(op: Conv2DGradWeight, dy: Spec, x: Spec) -> Convolution:
    return convolution(op, "weights", dy.dtype, x.shape, op.infer(dy, x).shape, dy.shape)


def _engines() -> Engines:
    library = cudnn.current_cudnn()
    if library is None:
        raise DeviceError(f"cuDNN cannot be used here: {cudnn.report()}")
    return engines_of(library)


def _usable(describe: Describe, rank: int, op: Op, *inputs: Spec) -> bool:
    """Whether cuDNN is here and has more than `rank` engines for this."""
    if cudnn.current_cudnn() is None or inputs[0].dtype not in TYPES or any(x.dtype != inputs[0].dtype for x in inputs):
        return False
    wanted = describe(op, *inputs)
    if describe is _whole and not wanted.is_followed:
        return False
    if 0 in (*wanted.image, *wanted.weights, *wanted.result) or wanted.elements > MOST_ELEMENTS:
        return False
    return _engines().count(wanted) > rank


def _workspace(describe: Describe, rank: int, op: Op, *inputs: Spec) -> tuple[Spec, ...]:
    return workspace_specs(_engines().plan(describe(op, *inputs), rank).workspace)


def _statistics_scratch(rank: int, op: Conv2DStatistics, *inputs: Spec) -> tuple[Spec, ...]:
    return (*statistics_scratch(op, *inputs), *_workspace(_forward, rank, op, *inputs))


class _Run:
    """A plan on arrays of the device, which live as long as their addresses are used."""

    def __init__(self, plan: cudnn.Plan, tensors: Mapping[int, Array], workspace: Sequence[Array]) -> None:
        driver = current_driver()
        addresses = {number: checked_address("cuDNN", driver.address(array)) for number, array in tensors.items()}
        self._arrays = (*tensors.values(), *workspace)
        self._plan, self._bound = plan, plan.bound(addresses, workspace_address(workspace))

    def __call__(self) -> None:
        """Start it on the driver's stream."""
        self._plan.run(self._bound)


def _run(
    rank: int, wanted: Convolution, image: Array, weights: Array, result: Array, workspace: Sequence[Array]
) -> Call:
    tensors = {IMAGE: image, WEIGHTS: weights, RESULT: result}
    return Call(_Run(_engines().plan(wanted, rank), tensors, workspace), ())


def _conv2d(
    rank: int, op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, residual: Array | None = None, *,
    scratch: tuple[Array, ...],
) -> Call:  # fmt: skip
    product = _run(rank, _forward(op, spec_of(x), spec_of(w)), x, w, out, scratch)
    return finished(product, out, b, residual, op.activation)


def _conv2d_whole(
    rank: int, op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, residual: Array | None = None, *,
    scratch: tuple[Array, ...],
) -> Call:  # fmt: skip
    given = {IMAGE: x, WEIGHTS: w, RESULT: out, BIAS: b, RESIDUAL: residual}
    added = [None if array is None else spec_of(array) for array in (b, residual)]
    wanted = _whole(op, spec_of(x), spec_of(w), *added)
    tensors = {number: array for number, array in given.items() if array is not None}
    return Call(_Run(_engines().plan(wanted, rank), tensors, scratch), ())


def _conv2d_statistics(
    rank: int, op: Conv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...],
) -> Call:  # fmt: skip
    product = _run(rank, _forward(op, spec_of(x), spec_of(w)), x, w, out[0], scratch[1:])
    return sequence([finished(product, out[0], b), gather(out[1], out[0], scratch[0])])


def _conv2d_grad_input(
    rank: int, op: Conv2DGradInput, out: Array, dy: Array, w: Array, *, scratch: tuple[Array, ...]
) -> Call:
    return _run(rank, _grad_input(op, spec_of(dy), spec_of(w)), out, w, dy, scratch)


def _conv2d_grad_input_added(
    rank: int, op: Conv2DGradInputAdded, out: Array, dy: Array, w: Array, other: Array, *, scratch: tuple[Array, ...]
) -> Call:
    return finished(_conv2d_grad_input(rank, op.gradient, out, dy, w, scratch=scratch), out, residual=other)


def _conv2d_grad_weight(
    rank: int, op: Conv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]
) -> Call:
    return _run(rank, _grad_weight(op, spec_of(dy), spec_of(x)), x, out, dy, scratch)


def _register(
    op: type[Op], describe: Describe, function: Callable[..., Call], scratch: Callable[..., Any],
    names: Sequence[str] = ALGORITHMS,
) -> None:  # fmt: skip
    for rank, name in enumerate(names):
        kernel(
            op, "gpu", algorithm=name, when=partial(_usable, describe, rank), scratch=partial(scratch, rank), binds=True
        )(partial(function, rank))


_register(Conv2D, _whole, _conv2d_whole, partial(_workspace, _whole), WHOLE)
_register(Conv2D, _forward, _conv2d, partial(_workspace, _forward))
_register(Conv2DStatistics, _forward, _conv2d_statistics, _statistics_scratch)
_register(Conv2DGradInput, _grad_input, _conv2d_grad_input, partial(_workspace, _grad_input))
_register(Conv2DGradInputAdded, _grad_input_added, _conv2d_grad_input_added, partial(_workspace, _grad_input_added))
_register(Conv2DGradWeight, _grad_weight, _conv2d_grad_weight, partial(_workspace, _grad_weight))
