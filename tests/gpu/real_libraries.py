"""The real cuDNN and cuBLAS where there is no GPU: they describe everything, and compute nothing."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from edge_sdk.errors import DeviceError
from edge_sdk.kernels.gpu import cublas, cudnn
from edge_sdk.kernels.gpu.cudnn import LONGEST_MESSAGE

DRIVER = "libcuda.so.1"
CALLED = ("cuGetErrorString", "cuModuleGetFunction", "cuModuleLoadData", "cuModuleUnload", "cuTensorMapEncodeIm2col",
          "cuTensorMapEncodeTiled")  # fmt: skip
"""Functions of NVIDIA's driver without which cuDNN does not load. Nothing here calls them."""
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


def cudnn_functions() -> Any:
    """Return cuDNN's functions; skips the test where it is not installed."""
    _load_driver()
    functions = _or_skip(cudnn.loaded_functions)
    functions.cudnnCreate(ctypes.byref(ctypes.c_void_p()))  # after which it knows that there is no GPU
    functions.cudnnGetLastErrorString(ctypes.create_string_buffer(LONGEST_MESSAGE), LONGEST_MESSAGE)  # and forgets it
    return functions


def cublas_functions() -> Any:
    """Return cuBLAS's functions; skips the test where it is not installed."""
    return _or_skip(cublas.loaded_functions)


def _or_skip(load: Any) -> Any:
    try:
        return load()
    except DeviceError as error:
        pytest.skip(str(error))


@cache
def _load_driver() -> None:
    """Load NVIDIA's driver, or where there is none a library of its name whose functions say that there is no GPU."""
    try:
        ctypes.CDLL(DRIVER, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        if shutil.which("gcc") is None:
            pytest.skip("gcc is not installed: NVIDIA's driver, which cuDNN needs to load, cannot be stood in for")
        with TemporaryDirectory() as folder:
            place = Path(folder) / DRIVER
            text = "\n".join(f"int {name}(void) {{ return {NO_DEVICE}; }}" for name in CALLED)
            options = ["-shared", "-fPIC", f"-Wl,-soname,{DRIVER}", "-o", str(place), "-x", "c", "-"]
            subprocess.run(["gcc", *options], input=text, text=True, check=True)
            ctypes.CDLL(str(place), mode=ctypes.RTLD_GLOBAL)
