"""The learning rate over a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class CosineSchedule:
    """Linear warmup to `peak`, then half a cosine down to `floor` (Loshchilov and Hutter 2017), per step."""

    peak: float
    steps: int
    warmup_steps: int = 0
    floor: float = 0.0

    def rate(self, step: int) -> float:
        """The learning rate of `step`, counted from 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.floor + (self.peak - self.floor) * (1 + math.cos(math.pi * min(1.0, done))) / 2


@dataclass(frozen=True)
class ConstantSchedule:
    """The same learning rate throughout."""

    peak: float

    def rate(self, step: int) -> float:
        """The learning rate, whatever the step."""
        return self.peak
