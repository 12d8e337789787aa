"""An NVIDIA GPU through CuPy: NVRTC compiles, the driver API launches, a step is captured as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from edge_sdk.errors import DeviceError
from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.driver import Function, Size
from edge_sdk.kernels.gpu.exchange import Exchange, HostExchange, NcclExchange
from edge_sdk.kernels.gpu.nvrtc import check_compiler, machine_code
from edge_sdk.kernels.gpu.source import Source
from edge_sdk.kernels.gpu.transfer import Event, Queue, StagedTransfer, staging_sizes
from edge_sdk.parallel.communicator import Communicator
from edge_sdk.spec import Array

SMALL_WRITE, SMALL_WRITES = 4 << 10, 256 << 10
"""Bytes that are written without waiting: at a time, and before the host waits for all of them once."""
LEAST_BUSY, LAUNCHING = 1_000_000, 100_000
"""Nanoseconds that the GPU is kept busy before something is timed: at least, and for each work that must be queued."""
ALIGNMENT = 64
POOL_UNIT = 512


class _CudaFunction:
    def __init__(self, function: Any, module: Any, launch: Callable[..., None], stream: Any) -> None:
        self._pointer, self._module, self._launch, self._stream = function.ptr, module, launch, stream

    def check(self, values: Sequence[Any]) -> None:
        """Nothing is known of types here; the emulation checks them."""

    def __call__(self, grid: Size, block: Size, shared: int, arguments: int) -> None:
        self._launch(self._pointer, *grid, *block, shared, self._stream.ptr, arguments, 0)


class CudaDriver:
    """The current CUDA device: a stream on which everything runs in order, and one for copies of the next inputs."""

    runs_ahead = 1
    reserve = 256 << 20

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == "cupy"
            reason = next((f" (it is there, and says: {line})" for line in str(error).splitlines() if line.strip()), "")
            raise DeviceError(
                "device 'gpu' needs CuPy: pip install 'edge-sdk[gpu-cuda12]' or 'edge-sdk[gpu-cuda13]', whichever fits "
                f"the driver that nvidia-smi shows{'' if missing else reason}"
            ) from error
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise DeviceError(
                f"device 'gpu': CuPy finds no usable NVIDIA driver ({error}); nvidia-smi says what is there, and "
                "device 'cpu' needs none"
            ) from error
        if not count:
            raise DeviceError("device 'gpu': the NVIDIA driver lists no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES")
        check_compiler()
        self._cupy = cupy
        self._stream, self._copies = (cupy.cuda.Stream(non_blocking=True) for _ in Queue)
        self._streams = {Queue.COMPUTING: self._stream, Queue.COPIES: self._copies}
        self._small_writes, self._used = self.pinned(SMALL_WRITES), 0
        self._modules: dict[Source, Any] = {}
        self._exchange: NcclExchange | None = None
        device = cupy.cuda.Device()
        properties = cupy.cuda.runtime.getDeviceProperties(device.id)
        self.architecture = f"sm_{device.compute_capability}"
        memory = properties["totalGlobalMem"] / 2**30
        self.description = f"{properties['name'].decode()}, {memory:.0f} GiB, {self.architecture}"

    @property
    def stream(self) -> int:
        """The CUDA stream that all runs on."""
        return int(self._stream.ptr)

    def function(self, source: Source, kernel: str) -> Function:
        """Return a kernel of a source, compiled and loaded once."""
        from cupy_backends.cuda.api import driver

        if source not in self._modules:
            module = self._cupy.cuda.function.Module()
            module.load(machine_code(source, self.architecture))
            self._modules[source] = module
        module = self._modules[source]
        return _CudaFunction(module.get_function(kernel), module, driver.launchKernel, self._stream)

    def allocate(self, size: int) -> Array:
        """Return bytes of CuPy's pool, aligned to 512."""
        with self._stream:
            allocated: Array = self._cupy.empty(size, self._cupy.uint8)
        return allocated

    def taken(self, size: int) -> int:
        """Return a multiple of 512, CuPy's unit."""
        return -(-size // POOL_UNIT) * POOL_UNIT

    def free_bytes(self) -> int | None:
        """Return what the driver and CuPy's pool have left."""
        free, _ = self._cupy.cuda.runtime.memGetInfo()
        return int(free) + int(self._cupy.get_default_memory_pool().free_bytes())

    def staging_bytes(self, inputs: Sequence[int]) -> int:
        """Return what a transfer takes for inputs of so many bytes."""
        return sum(map(self.taken, staging_sizes(inputs)))

    def address(self, array: Array) -> int:
        """Return where an array of the device starts; raises TypeError for one of the host."""
        if not isinstance(array, self._cupy.ndarray):
            raise TypeError("an array of the host was handed to a kernel of the device")
        return int(array.data.ptr)

    def write(self, target: Array, source: Array) -> None:
        """Copy to the device, in the order of launches; the host's array may be changed as soon as this returns.

        What is as small as a learning rate goes through pinned memory, and nobody waits for it.
        """
        if source.nbytes > SMALL_WRITE:
            target.set(np.ascontiguousarray(source), stream=self._stream)  # type: ignore[attr-defined]
            self._stream.synchronize()
            return
        pinned = self._small_write(source.nbytes)
        np.copyto(pinned.view(source.dtype).reshape(source.shape), source)
        self._copy_async(self.address(target), pinned.ctypes.data, source.nbytes, self._host_to_device, self._stream)

    def read(self, source: Array) -> Array:
        """Wait for all that was launched, and copy to the host."""
        result: Array = source.get(stream=self._stream)  # type: ignore[attr-defined]
        self._stream.synchronize()
        return result

    def copy(self, target: Array, source: Array) -> None:
        """Copy on the device, in the order of launches."""
        kind = self._cupy.cuda.runtime.memcpyDeviceToDevice
        self._copy_async(self.address(target), self.address(source), target.nbytes, kind, self._stream)

    def program(self, calls: Sequence[Call]) -> Callable[[], None]:
        """Return the calls as one CUDA graph, from the second time on."""
        if not calls:
            return _nothing
        return _CapturedProgram(calls, self._stream)

    def transfer(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> StagedTransfer:
        """Return what copies by the stream of copies into the inputs while runs go on, and outputs back."""
        return StagedTransfer(self, inputs, outputs)

    def wait(self) -> None:
        """Wait for the stream that computes."""
        self._stream.synchronize()

    def timed(self, works: Sequence[Callable[[], None]]) -> list[float]:
        """Start works one after the other; return the seconds between the events before and behind each.

        The GPU is kept busy until all are queued, so that no time is counted in which it waits for a launch.
        """
        self._spend(max(LEAST_BUSY, len(works) * LAUNCHING))
        event = self._cupy.cuda.Event
        events = [self._stream.record(event())]
        for work in works:
            work()
            events.append(self._stream.record(event()))
        self._stream.synchronize()
        return [1e-3 * self._cupy.cuda.get_elapsed_time(first, last) for first, last in pairwise(events)]

    def _spend(self, nanoseconds: int) -> None:
        """Let the stream that computes do nothing for a while."""
        from edge_sdk.kernels.gpu.launch import launch

        launch("wait", "spend", (1, 1, 1), (1, 1, 1), np.uint64(nanoseconds))()

    def exchange(self, communicator: Communicator) -> Exchange:
        """Return one through NCCL, made once: all processes meet for that."""
        if communicator.size == 1:
            return HostExchange(communicator)
        if self._exchange is None:
            self._exchange = NcclExchange(communicator, self._stream)
        return self._exchange

    def pinned(self, size: int) -> Array:
        """Return page-locked bytes of the host (cudaHostAlloc)."""
        return np.frombuffer(self._cupy.cuda.alloc_pinned_memory(max(size, 1)), np.uint8, size)

    def upload(self, target: Array, source: Array) -> None:
        """Copy pinned memory to the device, on the stream of copies."""
        self._copy_async(self.address(target), source.ctypes.data, target.nbytes, self._host_to_device, self._copies)

    def download(self, target: Array, source: Array) -> None:
        """Copy to pinned memory, on the stream that computes."""
        kind = self._cupy.cuda.runtime.memcpyDeviceToHost
        self._copy_async(target.ctypes.data, self.address(source), target.nbytes, kind, self._stream)

    def record(self, queue: Queue) -> Event:
        """Return an event for which the host waits without keeping a processor busy."""
        event: Event = self._streams[queue].record(self._cupy.cuda.Event(block=True, disable_timing=True))
        return event

    def let_wait(self, queue: Queue, event: Event) -> None:
        """Let a stream go on behind an event of the other one."""
        self._streams[queue].wait_event(event)

    @property
    def _host_to_device(self) -> int:
        return int(self._cupy.cuda.runtime.memcpyHostToDevice)

    def _copy_async(self, target: int, source: int, size: int, kind: int, stream: Any) -> None:
        if size:
            self._cupy.cuda.runtime.memcpyAsync(target, source, size, kind, stream.ptr)

    def _small_write(self, size: int) -> Array:
        """Pinned bytes that no copy under way reads."""
        if self._used + size > SMALL_WRITES:
            self._stream.synchronize()
            self._used = 0
        start, self._used = self._used, self._used + -(-size // ALIGNMENT) * ALIGNMENT
        return self._small_writes[start : start + size]


def _nothing() -> None:
    """Do nothing: an empty graph need not be launched."""


class _CapturedProgram:
    """Calls that are made one by one the first time, which loads what they need, and as one CUDA graph from then on."""

    def __init__(self, calls: Sequence[Call], stream: Any) -> None:
        self._calls, self._stream, self._warm = calls, stream, False
        self._graph: Any = None

    def __call__(self) -> None:
        if self._graph is not None:
            self._graph.launch(self._stream)
            return
        if not self._warm:
            self._make_calls()
            self._warm = True
            return
        with self._stream:
            self._stream.begin_capture()
            try:
                self._make_calls()
            finally:
                self._graph = self._stream.end_capture()
        self._graph.launch(self._stream)

    def _make_calls(self) -> None:
        for call in self._calls:
            call.function(*call.arguments)
