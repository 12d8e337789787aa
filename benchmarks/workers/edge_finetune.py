"""Fine-tuning with edge-sdk, from start to finish: MODEL FOLDER EPOCHS BATCH OUT, the backbone frozen.

Prints the seconds of its parts as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

START = time.perf_counter()

from edge_sdk import __version__, fit, pretrained  # noqa: E402
from edge_sdk.training.listener import Silent  # noqa: E402


class Clock(Silent):
    """Notes when the parts of a run begin."""

    def __init__(self) -> None:
        self.features = self.head = 0.0

    def on_note(self, message: str) -> None:
        """Computing features begins."""
        self.features = time.perf_counter()

    def on_start(self, epochs: int, batches: int, progress: object) -> None:
        """The steps begin."""
        self.head = time.perf_counter()


def main() -> None:
    """Train and print."""
    name, folder, epochs, batch, out = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    imported = time.perf_counter()
    classes = sorted(path.name for path in folder.iterdir())
    model = pretrained.load(name, weights=None, num_classes=len(classes), labels=tuple(classes))
    clock = Clock()
    run = fit(model, folder, out=out, epochs=epochs, batch_size=batch, freeze="backbone", listener=clock)
    end = time.perf_counter()
    parts = {
        "start": imported - START,
        "model": clock.features - imported,
        "features": clock.head - clock.features,
        "head": end - clock.head,
    }
    accuracy = max(metrics.validation_accuracy or 0.0 for metrics in run.history)
    print(json.dumps({"parts": parts, "accuracy": accuracy, "versions": {"edge_sdk": __version__}}))


if __name__ == "__main__":
    main()
