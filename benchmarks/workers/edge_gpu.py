"""edge-sdk's training steps and inference on device "gpu", case by case (cases.py)."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from cases import serve_cases
from smoke_network import SMOKE, smoke_model

from edge_sdk import __version__, pretrained
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.emulated_driver import EmulatedDriver
from edge_sdk.kernels.gpu.libraries import report
from edge_sdk.kernels.gpu.nvrtc import compiler_version
from edge_sdk.model import Model
from edge_sdk.passes.allow_tf32 import allow_tf32
from edge_sdk.passes.half_precision import half_precision
from edge_sdk.passes.pixel_input import PIXELS, pixel_input
from edge_sdk.session import Session
from edge_sdk.spec import Array
from edge_sdk.training.optimizers import named_optimizer
from edge_sdk.training.precision import DTYPES
from edge_sdk.training.step import LABEL, training_step


class EdgeCase:
    """A Session with photos as bytes."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        release()
        model, batch = model_of(wanted["network"], wanted["side"], wanted["classes"]), wanted["batch"]
        make = training if wanted["kind"].startswith("training") else inference
        self._session = make(model, batch, wanted["precision"], autotune=wanted["autotune"])
        self._from_host = wanted["kind"].endswith("from the host")
        random = np.random.default_rng(0)
        self._feeds: dict[str, Array] = {
            PIXELS: random.integers(0, 256, (batch, *model.preprocess.shape), np.uint8),
        }
        if make is training:
            self._feeds[LABEL] = random.integers(0, wanted["classes"], batch).astype(np.int32)
        for _ in range(3):
            self._session.run(self._feeds)

    def seconds(self, runs: int) -> float:
        """Photos lie on the device, or come from the host by way of pinned memory while the run before computes."""
        if not self._from_host:
            return self._session.time_on_device(self._feeds, runs)
        waiting: deque[Callable[[], dict[str, Array]]] = deque()
        start = time.perf_counter()
        for _ in range(runs):
            waiting.append(self._session.start(self._feeds))
            if len(waiting) > self._session.runs_ahead:
                waiting.popleft()()
        for outputs in waiting:
            outputs()
        return (time.perf_counter() - start) / runs

    def peak_bytes(self) -> int:
        """All is taken when a Session is made."""
        return used_bytes()


def model_of(network: str, side: int, classes: int) -> Model:
    """Return a network with random weights."""
    if network == SMOKE:
        return smoke_model(side, classes)
    return pretrained.load(network, weights=None, num_classes=classes, image_size=side)


def training(model: Model, batch: int, precision: str, *, autotune: bool) -> Session:
    """Return a training step of all layers, as `edge train` makes it."""
    step = training_step(model, named_optimizer("sgd", 0.9), learning_rate=1e-3, precision=precision, device="gpu")
    graph, arrays = pixel_input(step.graph, model.preprocess)
    step.workspace.update(arrays)
    return Session(graph, step.workspace, "gpu", batch, autotune=autotune)


def inference(model: Model, batch: int, precision: str, *, autotune: bool) -> Session:
    """Return what `model.run` executes, from bytes on."""
    graph, arrays = pixel_input(model.execution[0], model.preprocess)
    workspace = model.execution[1].restricted(model.execution[0])
    workspace.update(arrays)
    if precision == "tf32":
        graph, workspace = allow_tf32(graph, workspace)
    elif precision in DTYPES:
        graph, workspace = half_precision(graph, workspace, dtype=DTYPES[precision])
    return Session(graph, workspace, "gpu", batch, autotune=autotune)


def release() -> None:
    """Give back what the case before had, to others too."""
    gc.collect()
    if not isinstance(current_driver(), EmulatedDriver):
        import cupy

        cupy.get_default_memory_pool().free_all_blocks()


def used_bytes() -> int:
    """Return how much of the device's memory arrays take."""
    driver = current_driver()
    if isinstance(driver, EmulatedDriver):
        return driver.used_bytes
    import cupy

    return int(cupy.get_default_memory_pool().used_bytes())


def versions() -> dict[str, object]:
    """Return what figures depend on beside the machine."""
    driver = current_driver()
    emulated = isinstance(driver, EmulatedDriver)
    about = {"edge_sdk": __version__, "device": driver.description, "emulated": emulated, **report()}
    if not emulated:
        import cupy

        about |= {"cupy": cupy.__version__, "cuda_of_driver": cupy.cuda.runtime.driverGetVersion()}
        about["nvrtc"] = compiler_version()
    return about


def main() -> None:
    """Serve."""
    serve_cases(EdgeCase, versions())


if __name__ == "__main__":
    main()
