"""cuDNN's graph interface through ctypes: descriptors, engines, plans.

An operation on tensors is described, cuDNN proposes engines for it and says of each how it computes, a plan is made of
an engine, and a plan runs on addresses. Describing needs no GPU, so that tests do it with the real library.

The older interface (cudnnConvolutionForward and its relatives) is deprecated. It says nothing of how an algorithm
rounds, and has no padding that differs between the two ends of an axis, as "same" needs it where a stride is 2.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any

from edge_sdk.errors import DeviceError
from edge_sdk.kernels.gpu import cublas_names
from edge_sdk.kernels.gpu.cudnn_names import (
    COMPILERS,
    ENTRIES,
    LASTING,
    LIBRARIES,
    SUCCESS,
    Attribute,
    Backend,
    Heuristic,
    Note,
    Type,
)
from edge_sdk.kernels.gpu.libraries import first_line, load_if_found, load_library, stream_for_libraries

HINT = "pip install 'edge-sdk[cudnn-cuda13]' or 'edge-sdk[cudnn-cuda12]'"
OLDEST = 90000
MOST_CONFIGURATIONS = 64
"""Proposals of one heuristic that are looked at."""
MOST_KNOBS = 32
LONGEST_MESSAGE = 1024

_C_TYPES = {
    Type.HANDLE: ctypes.c_void_p, Type.VOID_PTR: ctypes.c_void_p, Type.BACKEND_DESCRIPTOR: ctypes.c_void_p,
    Type.INT64: ctypes.c_int64, Type.FLOAT: ctypes.c_float, Type.DOUBLE: ctypes.c_double, Type.BOOLEAN: ctypes.c_bool,
}  # fmt: skip
"""How an attribute's elements lie in memory; those of the other types are C enumerations."""


def _elements(kind: Type, count: int) -> Any:
    """The C type of so many elements of an attribute."""
    return _C_TYPES.get(kind, ctypes.c_int) * count


class CudnnError(DeviceError):
    """cuDNN refused something; `lasts` where it would again, and was not out of memory or the like."""

    def __init__(self, what: str, status: int, message: str) -> None:
        super().__init__(f"cuDNN: {what}: {message} (status {status})")
        self.lasts = status in LASTING


class Descriptor:
    """An object of cuDNN's graph interface, and the others that it refers to."""

    def __init__(self, library: Cudnn, kind: Backend) -> None:
        pointer = ctypes.c_void_p()
        library.check(kind.name, library.functions.cudnnBackendCreateDescriptor(kind, ctypes.byref(pointer)))
        self.kind, self.pointer = kind, pointer.value
        self._library, self._kept = library, dict[Attribute, tuple[Any, ...]]()
        weakref.finalize(self, library.functions.cudnnBackendDestroyDescriptor, pointer.value).atexit = False

    def set(self, attribute: Attribute, kind: Type, *values: Any) -> None:
        """Set an attribute: to numbers, addresses or other descriptors."""
        self._kept[attribute] = values
        plain = [value.pointer if isinstance(value, Descriptor) else value for value in values]
        elements = _elements(kind, len(plain))(*plain)
        status = self._library.functions.cudnnBackendSetAttribute(self.pointer, attribute, kind, len(plain), elements)
        self._library.check(f"{self.kind.name}, {attribute.name}", status)

    def finalized(self) -> Descriptor:
        """Check all that was set, and return this descriptor."""
        self._library.check(self.kind.name, self._library.functions.cudnnBackendFinalize(self.pointer))
        return self

    def numbers(self, attribute: Attribute, kind: Type, most: int = 1) -> tuple[int, ...]:
        """Return the numbers of an attribute, of which there are `most` or fewer."""
        elements = _elements(kind, most)()
        return tuple(elements[: self._get(attribute, kind, most, elements)])

    def descriptors(self, attribute: Attribute, kind: Backend, most: int = 1) -> list[Descriptor]:
        """Return copies of the descriptors of an attribute, of which there are `most` or fewer."""
        found = [Descriptor(self._library, kind) for _ in range(most)]
        elements = (ctypes.c_void_p * most)(*(one.pointer for one in found))
        return found[: self._get(attribute, Type.BACKEND_DESCRIPTOR, most, elements)]

    def _get(self, attribute: Attribute, kind: Type, most: int, elements: Any) -> int:
        count = ctypes.c_int64()
        status = self._library.functions.cudnnBackendGetAttribute(
            self.pointer, attribute, kind, most, ctypes.byref(count), elements
        )
        self._library.check(f"{self.kind.name}, {attribute.name}", status)
        return min(count.value, most)


class Plan:
    """An operation with the engine that computes it, ready to run."""

    def __init__(self, library: Cudnn, graph: Descriptor, configuration: Descriptor) -> None:
        self.library, self.graph, self.configuration = library, graph, configuration
        plan = Descriptor(library, Backend.EXECUTION_PLAN)
        plan.set(Attribute.EXECUTION_PLAN_HANDLE, Type.HANDLE, library.handle)
        plan.set(Attribute.EXECUTION_PLAN_ENGINE_CONFIG, Type.BACKEND_DESCRIPTOR, configuration)
        self._plan = plan.finalized()
        self.workspace: int = plan.numbers(Attribute.EXECUTION_PLAN_WORKSPACE_SIZE, Type.INT64)[0]
        """Bytes it needs beside its tensors."""

    def bound(self, addresses: dict[int, int], workspace: int) -> Any:
        """Return the addresses of tensors, by their numbers in the graph, and of the workspace, as `run` takes them."""
        pack = Descriptor(self.library, Backend.VARIANT_PACK)
        pack.set(Attribute.VARIANT_PACK_UNIQUE_IDS, Type.INT64, *addresses)
        pack.set(Attribute.VARIANT_PACK_DATA_POINTERS, Type.VOID_PTR, *addresses.values())
        pack.set(Attribute.VARIANT_PACK_WORKSPACE, Type.VOID_PTR, workspace)
        return pack.finalized()

    def run(self, bound: Any) -> None:
        """Start it on the stream of the handle, which one thread at a time may use."""
        library = self.library
        with library.turn:
            status = library.functions.cudnnBackendExecute(library.handle, self._plan.pointer, bound.pointer)
        library.check("run", status)


class Cudnn:
    """The library, and what a handle of it does for one stream."""

    def __init__(self, functions: Any, handle: int | None) -> None:
        self.functions, self.handle, self.turn = functions, handle, threading.Lock()
        self.version: int = functions.cudnnGetVersion()

    def check(self, what: str, status: int) -> None:
        """Raise CudnnError unless a call has succeeded."""
        if status == SUCCESS:
            return
        text = ctypes.create_string_buffer(LONGEST_MESSAGE)
        self.functions.cudnnGetLastErrorString(text, LONGEST_MESSAGE)
        name = self.functions.cudnnGetErrorString(status).decode(errors="replace")
        said = text.value.decode(errors="replace").strip().partition("\n")[0]
        raise CudnnError(what, status, f"{name}: {said}" if said else name)

    def graph(self, *operations: Descriptor) -> Descriptor:
        """Return a graph of operations."""
        graph = Descriptor(self, Backend.OPERATIONGRAPH)
        if self.handle is not None:
            graph.set(Attribute.OPERATIONGRAPH_HANDLE, Type.HANDLE, self.handle)
        graph.set(Attribute.OPERATIONGRAPH_OPS, Type.BACKEND_DESCRIPTOR, *operations)
        return graph.finalized()

    def proposed(self, graph: Descriptor, mode: Heuristic) -> list[Descriptor]:
        """Return the configurations of engines that cuDNN expects to be good for a graph here, the best first."""
        heuristic = Descriptor(self, Backend.ENGINEHEUR)
        heuristic.set(Attribute.ENGINEHEUR_OPERATION_GRAPH, Type.BACKEND_DESCRIPTOR, graph)
        heuristic.set(Attribute.ENGINEHEUR_MODE, Type.HEUR_MODE, mode)
        heuristic.finalized()
        return heuristic.descriptors(Attribute.ENGINEHEUR_RESULTS, Backend.ENGINECFG, MOST_CONFIGURATIONS)

    def engine(self, graph: Descriptor, index: int) -> Descriptor:
        """Return an engine by its number."""
        engine = Descriptor(self, Backend.ENGINE)
        engine.set(Attribute.ENGINE_OPERATION_GRAPH, Type.BACKEND_DESCRIPTOR, graph)
        engine.set(Attribute.ENGINE_GLOBAL_INDEX, Type.INT64, index)
        return engine.finalized()

    def configuration(self, graph: Descriptor, index: int, knobs: Sequence[tuple[int, int]]) -> Descriptor:
        """Return an engine with its knobs (type, value) set."""
        choices = []
        for kind, value in knobs:
            choice = Descriptor(self, Backend.KNOB_CHOICE)
            choice.set(Attribute.KNOB_CHOICE_KNOB_TYPE, Type.KNOB_TYPE, kind)
            choice.set(Attribute.KNOB_CHOICE_KNOB_VALUE, Type.INT64, value)
            choices.append(choice.finalized())
        configuration = Descriptor(self, Backend.ENGINECFG)
        configuration.set(Attribute.ENGINECFG_ENGINE, Type.BACKEND_DESCRIPTOR, self.engine(graph, index))
        if choices:
            configuration.set(Attribute.ENGINECFG_KNOB_CHOICES, Type.BACKEND_DESCRIPTOR, *choices)
        return configuration.finalized()

    def engine_of(self, configuration: Descriptor) -> tuple[int, list[tuple[int, int]], frozenset[int]]:
        """Return an engine's number, its knobs (type, value) and the notes (`Note`) on its numbers."""
        engine = configuration.descriptors(Attribute.ENGINECFG_ENGINE, Backend.ENGINE)[0]
        notes = engine.numbers(Attribute.ENGINE_NUMERICAL_NOTE, Type.NUMERICAL_NOTE, 2 * len(Note))
        knobs = []
        for choice in configuration.descriptors(Attribute.ENGINECFG_KNOB_CHOICES, Backend.KNOB_CHOICE, MOST_KNOBS):
            kind = choice.numbers(Attribute.KNOB_CHOICE_KNOB_TYPE, Type.KNOB_TYPE)[0]
            knobs.append((kind, choice.numbers(Attribute.KNOB_CHOICE_KNOB_VALUE, Type.INT64)[0]))
        return engine.numbers(Attribute.ENGINE_GLOBAL_INDEX, Type.INT64)[0], knobs, frozenset(notes)

    def plan(self, graph: Descriptor, configuration: Descriptor) -> Plan:
        """Return the plan of an engine; raises CudnnError where it cannot compute this graph here."""
        return Plan(self, graph, configuration)


def loaded_functions() -> Any:
    """Return the library's functions; raises DeviceError where it is missing or too old."""
    load_if_found(cublas_names.LIBRARIES)
    load_if_found(COMPILERS)
    functions = load_library(LIBRARIES, ENTRIES, HINT)
    if functions.cudnnGetVersion() < OLDEST:
        raise DeviceError(f"cuDNN {version_text(functions.cudnnGetVersion())} is older than 9; {HINT}")
    return functions


def version_text(version: int) -> str:
    """Return a version of cuDNN, such as 92801 or, of those before 9, 8907, as people write it: "9.28.1", "8.9.7"."""
    major, rest = divmod(version, 10000 if version >= OLDEST else 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


@cache
def _opened() -> Cudnn | DeviceError:
    """The library with a handle on the driver's stream, or why there is none."""
    try:
        stream = stream_for_libraries()
        library, handle = Cudnn(loaded_functions(), None), ctypes.c_void_p()
        library.check("handle", library.functions.cudnnCreate(ctypes.byref(handle)))
        library.check("stream", library.functions.cudnnSetStream(handle, stream))
    except DeviceError as error:
        return error
    library.handle = handle.value
    return library


def current_cudnn() -> Cudnn | None:
    """Return cuDNN on the device in use, None where it cannot be used."""
    opened = _opened()
    return opened if isinstance(opened, Cudnn) else None


def report() -> str:
    """Return the version, or in one line why cuDNN is not used."""
    try:
        version = version_text(loaded_functions().cudnnGetVersion())
    except DeviceError as error:
        return f"not used: {first_line(error)}"
    opened = _opened()
    return version if isinstance(opened, Cudnn) else f"{version}, not used: {first_line(opened)}"
