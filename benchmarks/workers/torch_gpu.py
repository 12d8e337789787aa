"""PyTorch's training steps and inference on a GPU, case by case (cases.py): FORM [DEVICE], FORM "eager" or "compiled".

Images are in channels_last, from bytes on; the optimizer is fused; 16 bits in training are autocast's, with GradScaler
for float16, and in inference weights are stored so; cuDNN measures its algorithms.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from cases import serve_cases
from torch import nn
from torchvision_models import VERSIONS, build

FORM, DEVICE = sys.argv[1], torch.device(sys.argv[2] if len(sys.argv) > 2 else "cuda")
ON_GPU = DEVICE.type == "cuda"
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Normalised(nn.Module):
    """A network of numbers of a type, on bytes (n, h, w, 3)."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network.to(dtype), dtype
        for name, numbers in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(numbers).reshape(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        image = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.deviation
        return self.network(image.to(self.dtype))


class SmokeNetwork(nn.Sequential):
    """The layers of smoke_network.py."""

    def __init__(self, classes: int) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
        )  # fmt: skip


class Feed:
    """Two batches in pinned memory; the next one is copied by a stream of its own while a step computes."""

    def __init__(self, arrays: tuple[torch.Tensor, ...]) -> None:
        self._slots = [tuple(array.pin_memory() if ON_GPU else array for array in arrays) for _ in range(2)]
        self._stream = torch.cuda.Stream() if ON_GPU else None
        self._number = 0
        self._next = self._start()

    def _start(self) -> tuple[torch.Tensor, ...]:
        self._number += 1
        with torch.cuda.stream(self._stream) if ON_GPU else contextlib.nullcontext():
            return tuple(array.to(DEVICE, non_blocking=True) for array in self._slots[self._number % 2])

    def __call__(self) -> tuple[torch.Tensor, ...]:
        """Return the batch that is there, and start the next one."""
        if ON_GPU:
            torch.cuda.current_stream().wait_stream(self._stream)
        batch = self._next
        if ON_GPU:
            for array in batch:
                array.record_stream(torch.cuda.current_stream())
        self._next = self._start()
        return batch


class TorchCase:
    """A network with what a step or a run needs."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        release()
        set_precision(wanted["precision"])
        torch.manual_seed(0)
        classes, side = wanted["classes"], wanted["side"]
        network = SmokeNetwork(classes) if wanted["network"] == "smoke" else build(wanted["network"], classes)
        self._trains = wanted["kind"].startswith("training")
        self._dtype = DTYPES.get(wanted["precision"])
        stored = torch.float32 if self._trains else self._dtype or torch.float32
        model = Normalised(network, stored).to(DEVICE, memory_format=torch.channels_last)
        if self._trains:
            self._optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, fused=True)
            self._scaler = torch.amp.GradScaler(DEVICE.type, enabled=self._dtype is torch.float16)
            self._loss_of = nn.CrossEntropyLoss()
        model.train(self._trains)
        self._model = torch.compile(model) if FORM == "compiled" else model
        pixels = torch.randint(0, 256, (wanted["batch"], side, side, 3), dtype=torch.uint8)
        label = torch.randint(0, classes, (wanted["batch"],))
        self._resident = (pixels.to(DEVICE), label.to(DEVICE))
        self._feed = Feed((pixels, label)) if wanted["kind"].endswith("from the host") else None
        for _ in range(5):
            self.run(*self._resident)
        wait()

    def run(self, pixels: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Take a step, or look at photos."""
        if not self._trains:
            with torch.inference_mode():
                return self._model(pixels)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE.type, self._dtype, enabled=self._dtype is not None):
            loss = self._loss_of(self._model(pixels), label)
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.detach()

    def seconds(self, runs: int) -> float:
        """Photos lie on the device, or come from the host; there each run's result is asked for one run later."""
        wait()
        start = time.perf_counter()
        before: torch.Tensor | None = None
        for _ in range(runs):
            result = self.run(*(self._feed() if self._feed else self._resident))
            if self._feed and before is not None:
                before.cpu()
            before = result
        wait()
        return (time.perf_counter() - start) / runs

    def peak_bytes(self) -> int:
        """What tensors have taken, without what the allocator keeps beside them."""
        return torch.cuda.max_memory_allocated() if ON_GPU else 0


def set_precision(precision: str) -> None:
    """Let products of float32 round their factors, or not."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


def release() -> None:
    """Give back what the case before had."""
    gc.collect()
    torch.compiler.reset()
    if ON_GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def wait() -> None:
    """Wait for the GPU."""
    if ON_GPU:
        torch.cuda.synchronize()


if __name__ == "__main__":
    device = torch.cuda.get_device_name() if ON_GPU else "cpu"
    cudnn = torch.backends.cudnn.version() if ON_GPU else None
    serve_cases(TorchCase, VERSIONS | {"device": device, "cudnn": cudnn})
