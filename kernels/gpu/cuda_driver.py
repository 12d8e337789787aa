"""An NVIDIA GPU through CuPy: NVRTC compiles, the driver API launches, a step is captured as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edge_sdk.errors import DeviceError
from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.compiled_files import compiled
from edge_sdk.kernels.gpu.driver import Function, Size
from edge_sdk.kernels.gpu.nvrtc import compile_source, compiler_version
from edge_sdk.kernels.gpu.source import Source
from edge_sdk.spec import Array


class _CudaFunction:
    def __init__(self, function: Any, module: Any, launch: Callable[..., None], stream: Any) -> None:
        self._pointer, self._module, self._launch, self._stream = function.ptr, module, launch, stream

    def check(self, values: Sequence[Any]) -> None:
        """Nothing is known of types here; the emulation checks them."""

    def __call__(self, grid: Size, block: Size, shared: int, arguments: int) -> None:
        self._launch(self._pointer, *grid, *block, shared, self._stream.ptr, arguments, 0)


class CudaDriver:
    """The current CUDA device, with a stream of its own that everything here runs on, in order."""

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            raise DeviceError(
                "device 'gpu' needs CuPy: pip install 'edge-sdk[gpu-cuda12]' or 'edge-sdk[gpu-cuda13]', whichever fits "
                "the driver that nvidia-smi shows"
            ) from error
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise DeviceError(f"device 'gpu': CuPy finds no usable NVIDIA driver ({error}); see nvidia-smi") from error
        if not count:
            raise DeviceError("device 'gpu': the NVIDIA driver lists no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES")
        self._cupy = cupy
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._modules: dict[Source, Any] = {}
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
            key = f"nvrtc|{compiler_version()}|{self.architecture}|{source.text}"
            code = compiled(key, lambda: compile_source(source, self.architecture).code)
            module = self._cupy.cuda.function.Module()
            module.load(code)
            self._modules[source] = module
        module = self._modules[source]
        return _CudaFunction(module.get_function(kernel), module, driver.launchKernel, self._stream)

    def allocate(self, size: int) -> Array:
        """Return bytes of CuPy's pool, aligned to 512."""
        with self._stream:
            allocated: Array = self._cupy.empty(size, self._cupy.uint8)
        return allocated

    def address(self, array: Array) -> int:
        """Return where an array of the device starts; raises TypeError for one of the host."""
        if not isinstance(array, self._cupy.ndarray):
            raise TypeError("an array of the host was handed to a kernel of the device")
        return int(array.data.ptr)

    def write(self, target: Array, source: Array) -> None:
        """Copy to the device, and wait: the host's array may be changed as soon as this returns."""
        target.set(np.ascontiguousarray(source), stream=self._stream)  # type: ignore[attr-defined]
        self._stream.synchronize()  # the host's array may be changed as soon as this returns

    def read(self, source: Array) -> Array:
        """Wait for all that was launched, and copy to the host."""
        result: Array = source.get(stream=self._stream)  # type: ignore[attr-defined]
        self._stream.synchronize()
        return result

    def copy(self, target: Array, source: Array) -> None:
        """Copy on the device, in the order of launches."""
        device_to_device = self._cupy.cuda.runtime.memcpyDeviceToDevice
        self._cupy.cuda.runtime.memcpyAsync(
            self.address(target), self.address(source), target.nbytes, device_to_device, self._stream.ptr
        )

    def program(self, calls: Sequence[Call]) -> Callable[[], None]:
        """Return the calls as one CUDA graph, from the second time on."""
        return _CapturedProgram(calls, self._stream)

    def wait(self) -> None:
        """Wait for the stream."""
        self._stream.synchronize()


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
