"""As much of CuPy as the driver uses, on the host: streams that work as early, late or oddly as CUDA allows.

What is queued happens in the order of its stream, and waits for events; nothing else is promised, here as there. So
code that lacks a wait computes other numbers under some schedule.
"""

from __future__ import annotations

import ctypes
import itertools
import random
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import numpy as np

Work = Callable[[], None]
Schedule = tuple[bool, bool] | int
SCHEDULES: tuple[Schedule, ...] = (*itertools.product((False, True), repeat=2), *range(6))
"""Of the first stream and the second, whether it works at once or as late as somebody waits; or the seed of draws."""
LATE, EARLY = (False, False), (True, True)


class FakeArray(np.ndarray):
    """An array "of the device"."""

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)

    def set(self, source: np.ndarray, stream: Stream) -> None:
        kept = source.copy()
        stream.queue(lambda: np.copyto(self, kept))

    def get(self, stream: Stream) -> np.ndarray:
        result = np.empty(self.shape, self.dtype)
        stream.queue(lambda: np.copyto(result, self))
        return result


class Event:
    """A point of a stream: how much of its work lies before it."""

    def __init__(self, *, block: bool = False, disable_timing: bool = False) -> None:
        self.stream: Stream | None = None
        self.position = 0

    def synchronize(self) -> None:
        if self.stream is not None:
            self.stream.advance(self.position)


class Stream:
    """Work in order, done as far as `done`."""

    machine: Machine

    def __init__(self, *, non_blocking: bool = False) -> None:
        self.ptr = next(self.machine.numbers)
        self.works: list[Work | Event] = []
        self.done = 0
        self.captured: list[Work] | None = None
        self.machine.streams[self.ptr] = self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def queue(self, work: Work | Event) -> None:
        if self.captured is not None:
            assert not isinstance(work, Event)
            self.captured.append(work)
            return
        self.works.append(work)
        self.machine.go_on()

    def advance(self, position: int) -> None:
        """Do the work before a position, and what it waits for."""
        while self.done < position:
            work = self.works[self.done]
            if isinstance(work, Event):
                work.synchronize()
            else:
                work()
            self.done += 1

    def record(self, event: Event) -> Event:
        event.stream, event.position = self, len(self.works)
        return event

    def wait_event(self, event: Event) -> None:
        waited = Event()
        waited.stream, waited.position = event.stream, event.position
        self.queue(waited)

    def synchronize(self) -> None:
        self.advance(len(self.works))

    def begin_capture(self) -> None:
        self.captured = []

    def end_capture(self) -> Any:
        works, self.captured = self.captured or [], None

        def launch(stream: Stream) -> None:
            for work in works:
                stream.queue(work)

        return SimpleNamespace(launch=launch)


class Machine:
    """The streams of one device, and when their work happens."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.streams: dict[int, Stream] = {}
        self.numbers = itertools.count(1)
        self._random = random.Random(schedule if isinstance(schedule, int) else 0)

    def go_on(self) -> None:
        """Do some of the work that is queued."""
        for index, stream in enumerate(self.streams.values()):
            left = len(stream.works) - stream.done
            drawn = isinstance(self.schedule, int)
            stream.advance(stream.done + (self._random.randint(0, left) if drawn else left * self.schedule[index]))


def fake_cupy(machine: Machine) -> ModuleType:
    """Return the module."""
    own_stream = type("Stream", (Stream,), {"machine": machine})

    def copy_async(target: int, source: int, size: int, kind: int, stream: int) -> None:
        machine.streams[stream].queue(lambda: ctypes.memmove(target, source, size) and None)

    def empty(size: int, dtype: Any) -> FakeArray:
        return np.full(size, 0xFF, np.uint8).view(FakeArray)

    runtime = SimpleNamespace(
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda _: {"totalGlobalMem": 80 << 30, "name": b"a GPU"},
        memGetInfo=lambda: (60 << 30, 80 << 30),
        CUDARuntimeError=RuntimeError,
        memcpyHostToDevice=1,
        memcpyDeviceToHost=2,
        memcpyDeviceToDevice=3,
        memcpyAsync=copy_async,
    )
    cuda = SimpleNamespace(
        Stream=own_stream,
        Event=Event,
        Device=lambda: SimpleNamespace(id=0, compute_capability="90"),
        alloc_pinned_memory=bytearray,
        runtime=runtime,
    )
    module = ModuleType("cupy")
    pool = SimpleNamespace(free_bytes=lambda: 1 << 30)
    module.__dict__.update(
        cuda=cuda, empty=empty, ndarray=FakeArray, uint8=np.uint8, get_default_memory_pool=lambda: pool
    )
    return module
