"""One training step as a graph: forward, loss, gradients, optimizer; its updates are the new weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.errors import UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.model import OUTPUT, Model
from edge_sdk.ops.activation import LogSoftmax, Softmax
from edge_sdk.ops.control import Full
from edge_sdk.ops.elementwise import Add, Mul, Sub
from edge_sdk.ops.loss import SoftmaxCrossEntropy
from edge_sdk.ops.reduce import ReduceMean, ReduceSum
from edge_sdk.ops.update import ClipByNorm, GlobalNorm
from edge_sdk.passes.allow_tf32 import allow_tf32
from edge_sdk.passes.freeze import freeze as freeze_pass
from edge_sdk.passes.half_precision import half_precision
from edge_sdk.passes.mixed_precision import mixed_precision
from edge_sdk.passes.pipelines import run_pipeline
from edge_sdk.passes.recompute import recompute as recompute_pass
from edge_sdk.passes.recompute import worthwhile
from edge_sdk.passes.start_early import start_early
from edge_sdk.passes.to_training import STEP, to_training
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, HALVES, Array, Spec, Value
from edge_sdk.training.data_parallel import mean_over_processes
from edge_sdk.training.frozen import Freeze, trainable
from edge_sdk.training.loss_scaling import add_factor, add_loss_scale, as_stored, keep_where_skipped
from edge_sdk.training.optimizers import Optimizer, named_optimizer
from edge_sdk.training.precision import BF16, DTYPES, FP16, TF32, check_precision, stores_halves
from edge_sdk.workspace import Workspace

LABEL = "label"
TEACHER = "teacher"
LOSS = "loss"
RATE = "learning_rate"

Recompute = Literal["auto", "activations"] | None
RECOMPUTE: tuple[Recompute, ...] = (None, "auto", "activations")


@dataclass(frozen=True)
class TrainingStep:
    """A training graph with its workspace: the optimizer's state, copies of the model's weights that train, and the
    model's own arrays of those that do not.
    """

    graph: Graph
    workspace: Workspace
    model: Model

    def trained_model(self) -> Model:
        """Return the model with the weights as they are now; later steps do not change it. Frozen ones are shared."""
        weights: dict[str, Array] = {
            name: self.workspace[name].copy() if name in self.graph.updates else self.model.workspace[name]
            for name in self.model.graph.params
        }
        return self.model.replace(workspace=Workspace(weights))


@dataclass(frozen=True)
class TrainingForward:
    """A network in training form, without loss, gradients and optimizer; `trained` are the weights to train."""

    graph: Graph
    workspace: Workspace
    model: Model
    trained: tuple[Value, ...]
    activations: str = "float32"
    """What a step stores the values between operators in; the graph here has them in float32."""
    device: str = "cpu"
    """Where a step is to run."""

    def step(
        self,
        optimizer: Optimizer,
        *,
        learning_rate: float,
        label_smoothing: float = 0.0,
        clip_norm: float | None = None,
        recompute: Recompute = "auto",
        distillation: float = 0.0,
        processes: int = 1,
    ) -> TrainingStep:
        """Add loss, gradients and optimizer; the arguments are those of `training_step`.

        With `distillation` the step is also fed the `teacher`'s logits (n, classes), and the loss is (1 - distillation)
        · cross-entropy + distillation · Σ p · log(p / q), p the teacher's probabilities and q the network's (Hinton et
        al. 2015, at temperature 1). Of several `processes`, which all take such a step on their own part of a batch,
        each takes it by the mean of their gradients.
        """
        if recompute not in RECOMPUTE:
            hint = suggestion(str(recompute), [kind for kind in RECOMPUTE if kind is not None])
            raise UsageError(f"recompute is {recompute!r}, wanted one of {', '.join(map(repr, RECOMPUTE))}{hint}")
        graph, workspace = self.graph, self.workspace.restricted(self.graph)
        if self.activations in HALVES:
            graph, workspace = half_precision(graph, workspace, dtype=self.activations)
        g = Builder.extend(graph, name=f"{graph.name}_training")
        label = g.input(LABEL, Spec((BATCH,), "int32"))
        logits = graph.value(OUTPUT)
        losses = g.add(SoftmaxCrossEntropy(label_smoothing=label_smoothing), logits, label, name="losses")
        if distillation > 0:
            losses = _add_teacher(g, losses, logits, distillation)
        loss = g.add(ReduceMean(axes=(0,)), losses, name=LOSS)
        scale = add_loss_scale(g, workspace) if self.activations == "float16" else None
        gradients, factor = gradient(g, loss, self.trained, seed=scale), None
        if self.activations in HALVES:
            gradients = as_stored(g, gradients)
        if processes > 1:
            gradients = mean_over_processes(g, gradients)
        if self.activations in HALVES:
            if scale is not None or clip_norm is not None:
                factor = add_factor(g, workspace, gradients, scale, clip_norm)
        elif clip_norm is not None:
            norm = g.add(GlobalNorm(), *gradients, name="gradient_norm")
            gradients = [g.add(ClipByNorm(max_norm=clip_norm), value, norm) for value in gradients]
        rate, step = _add_rate(g, workspace, learning_rate), _add_step(g, workspace)
        if factor is not None:
            keep_where_skipped(g, factor, list(dict.fromkeys([*graph.updates, Value(STEP)])))
        for weight, slope in zip(self.trained, gradients, strict=True):
            given = {} if factor is None else {"factor": factor}
            optimizer.update(g, workspace, weight, slope, rate, step, **given)
        finished = g.build(loss, logits)
        if recompute is not None:
            least_work = worthwhile(self.device) if recompute == "auto" else 0
            finished, workspace = recompute_pass(finished, workspace, loss=loss, least_work=least_work)
        finished, workspace = run_pipeline("step", finished, workspace)
        finished, workspace = start_early(finished, workspace)
        return TrainingStep(finished, workspace.restricted(finished), self.model)


def training_step(
    model: Model,
    optimizer: Optimizer,
    *,
    learning_rate: float,
    freeze: Freeze = None,
    label_smoothing: float = 0.0,
    clip_norm: float | None = None,
    seed: int = 0,
    precision: str = "float32",
    recompute: Recompute = "auto",
    device: str = "cpu",
) -> TrainingStep:
    """Build the graph of one step on `image` (n, h, w, c) and `label` int32 (n,).

    Its outputs are `loss` (mean softmax cross-entropy) and `logits` (n, classes). The learning rate is the parameter
    `learning_rate`, to be written between steps; `step` counts the steps taken. With `clip_norm` the gradients are
    scaled so that their common norm is at most that (Pascanu et al. 2013). Cheap activations are made twice instead of
    being kept for the gradients, the same numbers in less memory: by "auto" where that takes little time beside the
    gradients themselves, by "activations" all of them, with None none.

    On `device` "gpu" activations and gradients are stored in 16 bits with `precision="fp16"` or "bf16", weights, sums,
    statistics and the optimizer's state in float32 (`half_precision`); with "fp16" the loss is scaled, and steps whose
    gradients are not finite are skipped (`loss_scaling`); with "tf32" products may round their factors to TF32
    (`allow_tf32`). Elsewhere, with "bf16", products may round their factors to bfloat16 (`mixed_precision`), and
    everything else stays float32.

    Raises:
        UsageError: precision "fp16" on another device than "gpu".
    """
    forward = training_forward(model, freeze=freeze, seed=seed, precision=precision, device=device)
    return forward.step(
        optimizer,
        learning_rate=learning_rate,
        label_smoothing=label_smoothing,
        clip_norm=clip_norm,
        recompute=recompute,
    )


def training_forward(
    model: Model, *, freeze: Freeze = None, seed: int = 0, precision: str = "float32", device: str = "cpu"
) -> TrainingForward:
    """Return the model in training form, frozen layers folded, on copies of the weights that change.

    What precisions mean depends on the device: see `training_step`.
    """
    if precision == FP16:
        check_precision(precision, device)
    wanted = trainable(model.graph, freeze)
    frozen = [value for value in model.graph.params if value not in set(wanted)]
    graph, workspace = to_training(model.graph, model.workspace, trainable=wanted, seed=seed)
    graph, workspace = freeze_pass(graph, workspace, frozen=frozen)
    graph, workspace = run_pipeline("train", graph, workspace)
    activations = DTYPES[precision] if stores_halves(precision, device) else "float32"
    if precision == BF16 and activations == "float32":
        graph, workspace = mixed_precision(graph, workspace)
    elif precision == TF32:
        graph, workspace = allow_tf32(graph, workspace)
    changing = (*wanted, *graph.updates)
    workspace.update({name: workspace[name].copy() for name in changing})
    return TrainingForward(graph, workspace, model, wanted, activations, device)


def training_session(
    model: Model,
    batch: int,
    optimizer: str = "sgd",
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    freeze: Freeze = None,
    label_smoothing: float = 0.0,
    seed: int = 0,
    device: str = "cpu",
    autotune: bool | None = None,
    precise: bool | None = None,
    precision: str = "float32",
    recompute: Recompute = "auto",
    threads: int | None = None,
) -> Session:
    """Return a Session whose `run({"image": x, "label": y})` takes one step and returns `loss` and `logits`.

    `device`, `autotune`, `precise` and `threads` are the Session's; `autotune` is the model's own where it is None.
    `precision` "bf16" is faster and accurate enough to train with, and so are "fp16" and "tf32" on a GPU: see
    `training_step`.

    Raises:
        UsageError: the precision is unknown, or this machine cannot compute in it.
    """
    check_precision(precision, device)
    chosen = named_optimizer(optimizer, momentum, weight_decay)
    step = training_step(
        model, chosen, learning_rate=learning_rate, freeze=freeze, label_smoothing=label_smoothing, seed=seed,
        precision=precision, recompute=recompute, device=device,
    )  # fmt: skip
    chosen_by_time = model.autotune if autotune is None else autotune
    return Session(step.graph, step.workspace, device, batch, autotune=chosen_by_time, precise=precise, threads=threads)


def _add_teacher(g: Builder, losses: Value, logits: Value, share: float) -> Value:
    """Mix the losses (n) with how far the network's probabilities are from a teacher's."""
    teacher = g.input(TEACHER, g.spec(logits))
    ratio = g.add(Sub(), g.add(LogSoftmax(), teacher), g.add(LogSoftmax(), logits))
    divergence = g.add(ReduceSum(axes=(1,)), g.add(Mul(), g.add(Softmax(), teacher), ratio))
    parts = [
        g.add(Mul(), part, g.add(Full(shape=(), value=factor)))
        for part, factor in ((losses, 1 - share), (divergence, share))
    ]
    return g.add(Add(), *parts, name="mixed_losses")


def _add_rate(g: Builder, workspace: Workspace, learning_rate: float) -> Value:
    rate = g.param(RATE, Spec((), "float32"))
    workspace[rate] = np.asarray(learning_rate, np.float32)
    return rate


def _add_step(g: Builder, workspace: Workspace) -> Value:
    """The number of this step, counted from 1."""
    if STEP in g.params:  # dropout counts steps already
        return g.updates[Value(STEP)]
    step = g.param(STEP, Spec((), "int64"))
    workspace[step] = np.asarray(0, np.int64)
    one = g.add(Full(shape=(), value=1.0, dtype="int64"), name="one")
    counted = g.add(Add(), step, one, name=f"{STEP}:updated")
    g.update(step, counted)
    return counted
