"""What networks that have learnt the solar-cell photos lose in 8 bits.

    python -m benchmarks.quantized_accuracy resnet18 mobilenet_v2 --seeds 0

For each network and seed: its accuracy on the held-out photos in float32, with 8 bits by calibration alone, with the
search for an observer and with bias correction ("corrected" is what the ladder keeps of these), and the file that
`edge export --max-drop 0.2 --min-agreement 98.5` accepts, run in the runtime. One photo of 459 is 0.22 points, so it
also counts the photos that changed to a right answer and to a wrong one. Results of other networks and seeds in the
same file are kept.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

import edge_sdk as edge
from benchmarks.interleave import RESULTS, machine
from benchmarks.solar_cell_networks import RECIPES, Cells, trained
from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.errors import ExportError
from edge_sdk.evaluation import Evaluation, evaluate
from edge_sdk.model import Model
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.quantization.candidate import integer_graph, prepare
from edge_sdk.quantization.ladder import RungName, climb
from edge_sdk.quantization.post_training import QuantizedModel

RESULT = RESULTS / "quantized_accuracy.json"
ALONE: tuple[RungName, ...] = ("calibration", "search", "bias-correction")
MAX_DROP, MIN_AGREEMENT = 0.2, 98.5
Row = dict[str, Any]


def compared(float_answers: Evaluation, answers: Evaluation, labels: Sequence[int]) -> Row:
    """How the answers of an 8-bit form differ from the float model's, in points and photos."""
    before, after = float_answers.predictions == labels, answers.predictions == labels
    return {
        "accuracy": round(100 * answers.top1, 2),
        "drop": round(100 * (float_answers.top1 - answers.top1), 2),
        "agreement": round(100 * float(np.mean(float_answers.predictions == answers.predictions)), 2),
        "photos lost": int(np.sum(before & ~after)),
        "photos won": int(np.sum(~before & after)),
    }


def measure(name: str, seed: int, folder: Path) -> Row:
    """Measure one network, trained first where `folder` has it not."""
    model = trained(name, seed, folder)
    cells = Cells.load(model.preprocess, seed)
    labels = [cells.held_out.label(index) for index in range(len(cells.held_out))]
    exact = evaluate(model, cells.held_out)
    row: Row = {
        "network": name, "seed": seed, "side": model.preprocess.size[0], "photos": len(labels),
        "float": round(100 * exact.top1, 2),
    }  # fmt: skip
    candidate = prepare(model)
    images = CalibrationImages.of(cells.training, model.labels, candidate.preprocess)
    for climbed in climb(candidate, images, model, ALONE):
        graph, weights = integer_graph(climbed.candidate)
        answers = evaluate(QuantizedModel(graph, weights, model.preprocess, model.labels), cells.held_out)
        row[climbed.rung] = compared(exact, answers, labels)
        if climbed.kept:
            row["corrected"] = {"rung": climbed.rung, **row[climbed.rung]}
    row["file"] = _accepted(model, cells, exact, labels)
    return row


def _accepted(model: Model, cells: Cells, exact: Evaluation, labels: Sequence[int]) -> Row:
    """What the gate makes of it: the rung it took and how the finished file answers in the runtime."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        try:
            report = edge.export(
                model,
                path,
                "int8",
                cells.training,
                cells.held_out,
                max_drop=MAX_DROP,
                min_agreement=MIN_AGREEMENT,
                train=cells.training,
            )
        except ExportError as error:
            return {"refused": str(error).replace(f"{folder}/", "")}
        answers = compared(exact, edge.evaluate(path, cells.held_out), labels)
        attempts = [
            [attempt.rung, round(attempt.drop, 2), round(100 * attempt.agreement, 2), attempt.real_layers]
            for attempt in report.attempts
        ]
        return {"rung": report.attempts[-1].rung, **answers, "attempts": attempts}


def keep(row: Row) -> None:
    """Put a row into the result file in place of an earlier one of the same network and seed."""
    known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {"rows": []}
    rows = [one for one in known["rows"] if (one["network"], one["seed"]) != (row["network"], row["seed"])]
    rows = sorted([*rows, row], key=lambda one: (list(RECIPES).index(one["network"]), one["seed"]))
    text = json.dumps(
        {"machine": machine(), "max drop": MAX_DROP, "min agreement": MIN_AGREEMENT, "rows": rows}, indent=1
    )
    atomic_write_bytes(RESULT, text.encode() + b"\n")


@click.command()
@click.argument("networks", nargs=-1, type=click.Choice(sorted(RECIPES)))
@click.option("--seeds", default="0", help="Seeds of the weights and of the photos held out, with commas between.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("runs/solar-cells"), help="Of the trained networks."
)
def main(networks: Sequence[str], seeds: str, folder: Path) -> None:
    """Train what is not trained yet, and measure."""
    for name in networks or list(RECIPES):
        for seed in map(int, seeds.split(",")):
            row = measure(name, seed, folder)
            keep(row)
            click.echo(json.dumps(row))


if __name__ == "__main__":
    main()
