"""Does the arithmetic of the kernels change what a training ends with?

    python -m benchmarks.training_parity --torch-python /path/to/python

A small residual network learns the cell types and defects of the solar-cell photos, from the same initial weights and
in the same batches, with the kernels as they are (Winograd's F(4×4, 3×3) where it is fastest), in precise mode, and
with the naive kernels in NumPy; in PyTorch too, when an interpreter that has it is named. Each seed has other weights,
batches and mirrored photos. Kernels are at parity when the runs of one seed differ by no more than those of different
seeds do.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.interleave import RESULTS, machine, write
from edge_sdk.data.split import split_dataset
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.ops.conv import Conv2D
from edge_sdk.preprocess import Preprocess
from edge_sdk.pretrained.solar_cells import LABELS, block_of, load_solar_cells
from edge_sdk.session import Session
from edge_sdk.spec import Array, Value
from edge_sdk.training.optimizers import named_optimizer
from edge_sdk.training.schedule import CosineSchedule
from edge_sdk.training.step import LABEL, LOSS, RATE, training_step

SIDE = 32
WIDTHS = (32, 64)  # whole register tiles, so that Winograd's algorithm applies
BATCH = 64
PEAK_RATE, MOMENTUM, WEIGHT_DECAY = 0.05, 0.9, 5e-4
KERNELS: dict[str, dict[str, Any]] = {
    "winograd 4x4": {"precise": False},
    "precise": {"precise": True},
    "reference": {"device": "reference"},
}


def load_arrays() -> dict[str, Array]:
    """Photos (n, side, side, 3) and labels for training and for testing; no module of cells is on both sides."""
    arrays = {}
    for name, part in zip(("train", "test"), split_dataset(load_solar_cells(), 0.25, 0, block_of), strict=True):
        photos = [np.asarray(part.photo(index).resize((SIDE, SIDE))) for index in range(len(part))]
        arrays[f"{name}_image"] = (np.stack(photos).astype(np.float32) - 100) / 50
        arrays[f"{name}_label"] = np.array([part.label(index) for index in range(len(part))], np.int32)
    return arrays


def build(seed: int) -> Model:
    """A stem, two residual blocks at half the size and one at a quarter of it."""
    net = Network("small_resnet", (SIDE, SIDE, 3), seed)
    x = net.activation(net.batch_norm(net.conv(net.image, WIDTHS[0], 3, "stem.conv", 2, 1), "stem.norm"), "relu")
    for name, width, stride in (("a", WIDTHS[0], 1), ("b", WIDTHS[0], 1), ("c", WIDTHS[1], 2)):
        x = _block(net, x, name, width, stride)
    graph, workspace = net.head(net.global_average_pool(x), len(LABELS))
    return Model(graph, workspace, Preprocess((SIDE, SIDE)), LABELS)


def _block(net: Network, x: Value, name: str, width: int, stride: int) -> Value:
    def body(y: Value) -> Value:
        y = net.activation(net.batch_norm(net.conv(y, width, 3, f"{name}.conv1", stride, 1), f"{name}.norm1"), "relu")
        return net.batch_norm(net.conv(y, width, 3, f"{name}.conv2", 1, 1), f"{name}.norm2")

    def projection(y: Value) -> Value:
        return net.batch_norm(net.conv(y, width, 1, f"{name}.shortcut", stride, 0), f"{name}.shortcut_norm")

    return net.residual(x, body, projection if stride > 1 else None, "relu")


def batches(seed: int, epochs: int, image: Array, label: Array) -> Iterator[tuple[Array, Array]]:
    """The photos of every step, some of them mirrored; they depend on the seed alone."""
    for epoch in range(epochs):
        rng = np.random.default_rng((seed, epoch))
        order = rng.permutation(len(image))
        for first in range(0, len(image) - BATCH + 1, BATCH):
            chosen = image[order[first : first + BATCH]]
            for axis in (1, 2):
                mirrored = rng.random(BATCH) < 0.5
                chosen[mirrored] = np.flip(chosen[mirrored], axis)
            yield chosen, label[order[first : first + BATCH]]


def score(logits: Array, label: Array) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-logarithms[np.arange(len(label)), label].mean()), float((logits.argmax(axis=1) == label).mean())


def train(seed: int, epochs: int, arrays: dict[str, Array], options: dict[str, Any]) -> dict[str, Any]:
    """Train with some kernels; the loss of the last epoch, and how the result does on the photos that were held out."""
    step = training_step(build(seed), named_optimizer("sgd", MOMENTUM, WEIGHT_DECAY), learning_rate=PEAK_RATE)
    session = Session(step.graph, step.workspace, batch=BATCH, **options)
    image, label = arrays["train_image"], arrays["train_label"]
    steps = epochs * (len(image) // BATCH)
    schedule, losses = CosineSchedule(PEAK_RATE, steps, steps // 10), []
    for index, (x, y) in enumerate(batches(seed, epochs, image, label)):
        step.workspace[RATE][...] = schedule.rate(index)
        losses.append(float(session.run({"image": x, LABEL: y})[LOSS]))
    logits = step.trained_model().run(arrays["test_image"], precise=True)
    algorithms = sorted({s.algorithm for s in session.plan.steps if s.op.startswith(Conv2D.name)})
    return figures(losses, steps // epochs, logits, arrays["test_label"]) | {"convolutions": algorithms}


def figures(losses: list[float], last: int, logits: Array, label: Array) -> dict[str, Any]:
    """What is compared."""
    test_loss, accuracy = score(logits, label)
    return {
        "train_loss": round(float(np.mean(losses[-last:])), 4),
        "test_loss": round(test_loss, 4),
        "test_accuracy": round(accuracy, 4),
    }


def train_in_torch(python: str, seed: int, epochs: int, arrays: dict[str, Array]) -> dict[str, Any]:
    """The same by PyTorch: it gets the weights, every batch and every rate as arrays, and returns losses and logits."""
    image, label = arrays["train_image"], arrays["train_label"]
    steps = epochs * (len(image) // BATCH)
    schedule = CosineSchedule(PEAK_RATE, steps, steps // 10)
    xs, ys = zip(*batches(seed, epochs, image, label), strict=True)
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "given.npz"), Path(folder, "made.npz")
        weights = {f"weight:{name}": array for name, array in build(seed).workspace.items()}
        rates = np.array([schedule.rate(index) for index in range(steps)])
        hyper = np.array([MOMENTUM, WEIGHT_DECAY])
        np.savez(
            given,
            images=np.stack(xs),
            labels=np.stack(ys),
            rates=rates,
            hyper=hyper,
            test=arrays["test_image"],
            **weights,
        )
        worker = Path(__file__).parent / "workers" / "torch_parity.py"
        subprocess.run([python, str(worker), str(given), str(made)], check=True)  # noqa: S603 - ours
        with np.load(made) as result:
            return figures(list(result["losses"]), steps // epochs, result["logits"], arrays["test_label"])


@click.command(help=__doc__)
@click.option("--epochs", default=12, show_default=True)
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1, 2), show_default=True)
@click.option("--kernels", "names", type=click.Choice(list(KERNELS)), multiple=True, default=tuple(KERNELS))
@click.option("--torch-python", help="Interpreter that has torch.")
def main(epochs: int, seeds: tuple[int, ...], names: tuple[str, ...], torch_python: str | None) -> None:
    """Train, print, put each run into results/training_parity.json beside those that are there."""
    arrays = load_arrays()
    for seed in seeds:
        for name in names:
            record(name, seed, epochs, arrays, train(seed, epochs, arrays, KERNELS[name]))
        if torch_python:
            record("torch", seed, epochs, arrays, train_in_torch(torch_python, seed, epochs, arrays))


def record(name: str, seed: int, epochs: int, arrays: dict[str, Array], run: dict[str, Any]) -> None:
    """Print a run and write it down, with the means and deviations over the seeds that are there."""
    print(name, seed, json.dumps(run), flush=True)
    key, path = f"small_resnet {SIDE}x{SIDE}, {epochs} epochs", RESULTS / "training_parity.json"
    known = json.loads(path.read_text("utf-8")).get(key, {}) if path.is_file() else {}
    runs: dict[str, dict[str, Any]] = known.get("runs", {})
    runs.setdefault(name, {})[str(seed)] = run
    labels = arrays["test_label"]
    report = {
        "machine": machine(),
        "photos": {"train": len(arrays["train_label"]), "test": len(labels)},
        "accuracy_of_the_commonest_class": round(float(np.bincount(labels).max() / len(labels)), 4),
        "mean_and_deviation_over_seeds": {kernels: summarize(list(runs[kernels].values())) for kernels in runs},
        "runs": {kernels: dict(sorted(by_seed.items())) for kernels, by_seed in sorted(runs.items())},
    }
    write("training_parity", key, report)


def summarize(runs: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over the seeds, of each figure."""
    names = ("train_loss", "test_loss", "test_accuracy")
    values = {name: np.array([run[name] for run in runs]) for name in names}
    spread = 1 if len(runs) > 1 else 0
    return {n: (round(float(v.mean()), 4), round(float(v.std(ddof=spread)), 4)) for n, v in values.items()}


if __name__ == "__main__":
    main()
