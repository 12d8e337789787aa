"""Which engines of cuDNN may compute a convolution: their bytes are always the same, and they round as little as asked.

What cuDNN proposes is a function of its version, the device and the shapes, and so is what is taken of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache

from edge_sdk.errors import DeviceError
from edge_sdk.kernels.gpu.algorithm_cache import AlgorithmCache, Engine
from edge_sdk.kernels.gpu.cudnn import Cudnn, CudnnError, Descriptor, Plan, version_text
from edge_sdk.kernels.gpu.cudnn_graph import Convolution, graph_of
from edge_sdk.kernels.gpu.cudnn_names import Heuristic, Note
from edge_sdk.kernels.gpu.driver import current_driver

WANTED = 3
"""Engines that are remembered: which of them is fastest, measuring tells (`edge_sdk.autotune`)."""
MOST_WORKSPACE = 256 << 20

NEVER = frozenset(
    {
        Note.NONDETERMINISTIC, Note.REDUCED_PRECISION_REDUCTION,
        Note.FFT, Note.WINOGRAD_TILE_6x6, Note.WINOGRAD_TILE_13x13,
    }
)  # fmt: skip
"""Results that depend on time, sums in less than float32, transforms that round more than direct sums do."""
ROUNDING = frozenset({Note.TENSOR_CORE, Note.DOWN_CONVERT_INPUTS})
"""Factors of float32 in fewer bits."""


def may_run(wanted: Convolution, notes: frozenset[int]) -> bool:
    """Tell whether an engine with these notes may compute a convolution."""
    exact = wanted.dtype == "float32" and not wanted.rounds
    keeps = wanted.activation is None or Note.STRICT_NAN_PROP in notes  # what is not a number, as all our kernels do
    return keeps and not notes & (NEVER | ROUNDING if exact else NEVER)


class Engines:
    """The engines and plans of convolutions on one device, each looked for once."""

    def __init__(self, library: Cudnn, device: str) -> None:
        self.library = library
        self.kept = AlgorithmCache("cudnn", version_text(library.version), device)
        self._plans: dict[tuple[Convolution, int], Plan] = {}

    def count(self, wanted: Convolution) -> int:
        """Return how many engines are known for a convolution, at most WANTED."""
        engines = self.kept.get(repr(wanted))
        return len(self._searched(wanted) if engines is None else engines)

    def plan(self, wanted: Convolution, rank: int) -> Plan:
        """Return the plan of the engine that is expected to be the best but `rank`.

        Raises:
            DeviceError: no engine computes this.
        """
        if (wanted, rank) not in self._plans:
            graph = graph_of(self.library, wanted)
            plan = self._remembered(graph, wanted, rank)
            if plan is None:  # of a damaged file, or of a driver that has become older
                engines = self._searched(wanted)
                if not engines:
                    raise DeviceError(f"cuDNN {version_text(self.library.version)} has no engine for {wanted}")
                plan = self._made(graph, engines[min(rank, len(engines) - 1)])
            self._plans[wanted, rank] = plan
        return self._plans[wanted, rank]

    def _remembered(self, graph: Descriptor, wanted: Convolution, rank: int) -> Plan | None:
        engines = self.kept.get(repr(wanted)) or []
        with contextlib.suppress(CudnnError):
            if rank < len(engines):
                plan = self._made(graph, engines[rank])
                notes = self.library.engine_of(plan.configuration)[2]
                return plan if plan.workspace <= MOST_WORKSPACE and may_run(wanted, notes) else None
        return None

    def _made(self, graph: Descriptor, engine: Engine) -> Plan:
        return self.library.plan(graph, self.library.configuration(graph, *engine))

    def _searched(self, wanted: Convolution) -> list[Engine]:
        """Engines that take these tensors on this device, the best first; none where cuDNN takes none of it.

        Where anything failed that might not fail again, such as for want of memory, the next process looks again.
        """
        engines: list[Engine] = []
        errors: list[CudnnError] = []
        with _collecting(errors):
            graph = graph_of(self.library, wanted)
            for configuration in self._proposed(graph, errors):
                index, knobs, notes = self.library.engine_of(configuration)
                engine = (index, tuple(knobs))
                if engine in engines or not may_run(wanted, notes):
                    continue
                with _collecting(errors):
                    if self.library.plan(graph, configuration).workspace <= MOST_WORKSPACE:
                        engines.append(engine)
                if len(engines) == WANTED:
                    break
        self.kept.put(repr(wanted), engines, on_disk=all(error.lasts for error in errors))
        return engines

    def _proposed(self, graph: Descriptor, errors: list[CudnnError]) -> Iterator[Descriptor]:
        for mode in (Heuristic.A, Heuristic.FALLBACK):
            proposed: list[Descriptor] = []
            with _collecting(errors):
                proposed = self.library.proposed(graph, mode)
            yield from proposed


@contextlib.contextmanager
def _collecting(errors: list[CudnnError]) -> Iterator[None]:
    """Go on behind the block where cuDNN refuses something in it."""
    try:
        yield
    except CudnnError as error:
        errors.append(error)


@cache
def engines_of(library: Cudnn) -> Engines:
    """Return the engines of a library on the device in use."""
    return Engines(library, current_driver().description)
