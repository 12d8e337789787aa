"""An operator of one's own, declared outside the package: Mish, y = x · tanh(log(1 + eˣ)) (Misra 2020).

Shape inference, gradient, two kernels and the form in .tflite files stand in this one file; the SDK finds them by the
class. A small network of it is then trained, saved, loaded and exported: `python examples/custom_operator.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import edge_sdk as edge
from edge_sdk.converters.tflite.lowering import Lowering, lower
from edge_sdk.converters.tflite.options import MulOptions, NegOptions
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.errors import ExportError
from edge_sdk.graph import Node
from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.nn import Network
from edge_sdk.op import Op
from edge_sdk.spec import Array, Spec, Value

SIDE, LABELS = 12, ("horizontal", "vertical", "plain")


@dataclass(frozen=True)
class Mish(Op, name="mish"):
    """y = x · tanh(log(1 + eˣ)), element by element."""

    in_place = {0: 0}  # noqa: RUF012 - a ClassVar of Op

    def infer(self, x: Spec) -> Spec:
        """The result is like x."""
        return x

    def grad(self, g: edge.Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        """One more node, which reads x."""
        return [g.add(MishGrad(), dy, node.inputs[0])]


@dataclass(frozen=True)
class MishGrad(Op, name="mish_grad"):
    """dx of mish: with t = tanh(log(1 + eˣ)), dy · (t + x · (1 - t²) / (1 + e⁻ˣ))."""

    in_place = {0: 0}  # noqa: RUF012

    def infer(self, dy: Spec, x: Spec) -> Spec:
        """The result is like dy."""
        return dy


@kernel(Mish, "reference")
def mish_reference(op: Mish, out: Array, x: Array) -> None:
    """The formula; logaddexp(0, x) is log(1 + eˣ) without overflow."""
    out[...] = x * np.tanh(np.logaddexp(0, x))


@kernel(MishGrad, "reference")
def mish_grad_reference(op: MishGrad, out: Array, dy: Array, x: Array) -> None:
    """The formula; exp(-logaddexp(0, -x)) is 1 / (1 + e⁻ˣ) without overflow."""
    t = np.tanh(np.logaddexp(0, x))
    out[...] = dy * (t + x * (1 - t * t) * np.exp(-np.logaddexp(0, -x)))


@jit
def _tanh_of_softplus(x: float) -> float:
    """tanh(log(1 + eˣ)) as a quotient of e = e^-|x|, which never overflows."""
    e = np.exp(-abs(x))
    if x >= 0:
        return (1 + 2 * e) / (1 + 2 * e + 2 * e * e)
    return (e * e + 2 * e) / (e * e + 2 * e + 2)


@parallel_jit
def _mish(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = x[i] * _tanh_of_softplus(x[i])


@kernel(Mish, "cpu")
def mish_cpu(op: Mish, out: Array, x: Array) -> None:
    """Writes into out and allocates nothing."""
    _mish(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _mish_grad(dy: Array, x: Array, dx: Array) -> None:
    for i in prange(dx.size):
        t, e = _tanh_of_softplus(x[i]), np.exp(-abs(x[i]))
        sigmoid = (1 if x[i] >= 0 else e) / (1 + e)
        dx[i] = dy[i] * (t + x[i] * (1 - t * t) * sigmoid)


@kernel(MishGrad, "cpu")
def mish_grad_cpu(op: MishGrad, out: Array, dy: Array, x: Array) -> None:
    """Writes into out, which may be dy's memory, and allocates nothing."""
    _mish_grad(dy.reshape(-1), x.reshape(-1), out.reshape(-1))


@lower(Mish)
def lower_mish(t: Lowering, op: Mish, node: Node) -> None:
    """NEG, LOGISTIC, LOG, TANH, MUL: log(1 + eˣ) is -log(sigmoid(-x)), so y = -x · tanh(log(sigmoid(-x)))."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    negative = t.temporary(f"{y.name}/negative", y.spec)
    sigmoid = t.temporary(f"{y.name}/sigmoid", y.spec)
    log = t.temporary(f"{y.name}/log", y.spec)
    tanh = t.temporary(f"{y.name}/tanh", y.spec)
    t.emit(Builtin.NEG, [x], [negative], NegOptions())
    t.emit(Builtin.LOGISTIC, [negative], [sigmoid])
    t.emit(Builtin.LOG, [sigmoid], [log])
    t.emit(Builtin.TANH, [log], [tanh])
    t.emit(Builtin.MUL, [negative, tanh], [y], MulOptions())


def stripes(count: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Noisy grey images, uint8 (n, 12, 12, 3), with stripes along their label's direction, and labels, int32 (n,)."""
    label = random.integers(0, 3, count).astype(np.int32)
    wave = np.tile([100.0, 100.0, -100.0, -100.0], SIDE // 4)
    pattern = np.stack([np.tile(wave[:, None], SIDE), np.tile(wave, (SIDE, 1)), np.zeros((SIDE, SIDE))])
    noisy = 127 + pattern[label] + random.normal(0, 20, (count, SIDE, SIDE))
    return np.repeat(noisy.clip(0, 255).astype(np.uint8)[..., None], 3, axis=3), label


def build() -> edge.Model:
    """Two convolutions with Mish behind each, then the classifier head."""
    net = Network("mish_network", (SIDE, SIDE, 3))
    x = net.image
    for name, channels in (("conv1", 8), ("conv2", 16)):
        x = net.builder.add(Mish(), net.batch_norm(net.conv(x, channels, 3, name, stride=2), f"{name}.norm"))
    graph, workspace = net.head(net.global_average_pool(x), len(LABELS))
    preprocess = edge.Preprocess((SIDE, SIDE), mean=(127.0,) * 3, std=(128.0,) * 3)
    return edge.Model(graph, workspace, preprocess, LABELS, {"architecture": "mish_network"})


def main() -> None:
    """Train, save, load and export."""
    random = np.random.default_rng(0)
    model = build()
    session = edge.training_session(model, batch=32, learning_rate=0.01)
    for step in range(61):
        images, label = stripes(32, random)
        loss = session.run({"image": model.preprocess.normalise(images), "label": label})["loss"]
        if step % 20 == 0:
            print(f"step {step:2d}  loss {loss:.4f}")
    trained = model.replace(workspace=session.workspace.restricted(model.graph))

    images, label = stripes(60, random)
    x = trained.preprocess.normalise(images)
    with tempfile.TemporaryDirectory() as folder:
        trained.save(Path(folder) / "mish.edge")
        loaded = edge.load(Path(folder) / "mish.edge")
        print(f"saved and loaded: the same logits: {np.array_equal(loaded.run(x), trained.run(x))}")
        print(f"accuracy on new images: {np.mean(loaded.run(x).argmax(axis=1) == label):.2f}")
        report = edge.export(loaded, Path(folder) / "mish.tflite", check=images)
        print(f"exported: {dict(report.operators)}")
        print(f"largest difference in the runtime: {report.relative_difference:.0e} of the largest logit")
        try:
            edge.export(loaded, Path(folder) / "mish8.tflite", quantize="int8", calibrate=images)
        except ExportError as error:
            print(f"refused: {error}")


if __name__ == "__main__":
    main()
