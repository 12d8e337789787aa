"""Starts the processes of a run on this machine, and ends them together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Barrier
from multiprocessing.synchronize import Event as Flag
from pathlib import Path
from typing import Any, cast

from edge_sdk.errors import EdgeError, UsageError
from edge_sdk.parallel.communicator import communicating
from edge_sdk.parallel.shared_memory import ProcessLostError, SharedMemoryCommunicator, shared_bytes
from edge_sdk.parallel.stop import stop_by
from edge_sdk.threads import VARIABLE as THREADS_VARIABLE
from edge_sdk.threads import get_threads

GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"
STOP_SECONDS = 10.0
"""How long processes may take to end by themselves when one of them has failed."""


@dataclass(frozen=True)
class _Place:
    """Where a process finds the others."""

    rank: int
    size: int
    memory: str
    meeting: Barrier
    stop: Flag


def run_processes(count: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function(*arguments)` in `count` new processes that `current_communicator()` connects.

    Returns what the first of them returns. `function` must be importable by its name, and everything picklable. Each
    process sees one GPU, the one of its rank, and computes with an equal share of this process's threads. What the
    others than the first print is not shown. Ctrl-C is theirs to see at the next step (`stop_asked`).

    Raises:
        UsageError: `count` is below 1.
        EdgeError: a process raised one, which is raised here too, or it ended without a word; the others are stopped.
        KeyboardInterrupt: a process ended by it.
    """
    if count < 1:
        raise UsageError(f"processes: wanted at least 1, found {count}")
    context = multiprocessing.get_context("spawn")
    memory = SharedMemory(create=True, size=shared_bytes(count))
    stop, meeting = context.Event(), context.Barrier(count)
    processes: list[SpawnProcess] = []
    replies: list[Connection] = []
    threads = max(1, get_threads() // count)
    try:
        with _interrupts_to(stop):
            for rank in range(count):
                reply, theirs = context.Pipe(duplex=False)
                place = _Place(rank, count, memory.name, meeting, stop)
                process = context.Process(target=_process, args=(place, theirs, function, arguments))
                with _environment(rank, threads):
                    process.start()
                theirs.close()
                processes.append(process)
                replies.append(reply)
            return _first_result(processes, replies, meeting)
    finally:
        meeting.abort()
        for process in processes:
            process.join(STOP_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
        memory.close()
        memory.unlink()


def _first_result(processes: Sequence[SpawnProcess], replies: Sequence[Connection], meeting: Barrier) -> Any:
    """Wait for all processes; raise what went wrong first, but that others were lost by it."""
    results: dict[int, Any] = {}
    errors: dict[int, BaseException] = {}
    ranks = {reply: rank for rank, reply in enumerate(replies)}
    while ranks:
        for ready in wait(list(ranks)):
            reply = cast("Connection", ready)
            rank = ranks.pop(reply)
            try:
                kind, content = reply.recv()
            except EOFError:
                processes[rank].join()
                ended = f"process {rank} of {len(processes)} ended unexpectedly, exit code {processes[rank].exitcode}"
                kind, content = "error", (EdgeError, ended)
            if kind == "result":
                results[rank] = content
                continue
            if kind == "interrupted":
                errors[rank] = KeyboardInterrupt(content)
                continue
            errors[rank] = RuntimeError(content) if kind == "defect" else _error(content)
            meeting.abort()  # the others wait for one that will not come
    for error in sorted(errors.values(), key=lambda one: isinstance(one, ProcessLostError)):
        raise error
    return results[0]


def _error(content: tuple[type[EdgeError], str]) -> EdgeError:
    """An error as another process raised it, by its message alone."""
    error_type, message = content
    error = error_type.__new__(error_type)
    Exception.__init__(error, message)
    return error


def _process(place: _Place, reply: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Runs in a new process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all, at different steps
    stop_by(place.stop)
    if place.rank:
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    communicator = SharedMemoryCommunicator.attach(place.rank, place.size, place.memory, place.meeting)
    try:
        with communicating(communicator):
            reply.send(("result", function(*arguments)))
    except EdgeError as error:
        reply.send(("error", (type(error), str(error))))
    except KeyboardInterrupt as stop:
        reply.send(("interrupted", str(stop)))
    except Exception:  # noqa: BLE001 - the process that shows it is another one
        reply.send(("defect", traceback.format_exc()))
    finally:
        communicator.close()


@contextmanager
def _interrupts_to(stop: Flag) -> Generator[None, None, None]:
    """Turn the first Ctrl-C into a wish to stop; the second is one."""
    before = signal.getsignal(signal.SIGINT)

    def press(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    try:
        signal.signal(signal.SIGINT, press)
    except ValueError:  # not the main thread: whoever has it sees Ctrl-C
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _environment(rank: int, threads: int) -> Generator[None, None, None]:
    """Let a process that is started in this block see its GPU alone, and compute with its share of threads.

    Where this process may see fewer GPUs than there are ranks, the last see none: the others are somebody else's.
    """
    given = os.environ.get(GPUS_VARIABLE)
    visible = None if given is None else [name for name in given.split(",") if name]
    gpu = str(rank) if visible is None else "".join(visible[rank : rank + 1])
    changed = {GPUS_VARIABLE: gpu, THREADS_VARIABLE: str(threads)}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
