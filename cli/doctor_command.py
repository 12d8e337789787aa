"""`edge doctor`: what this machine has that matters here, for people who ask why, and for reports of defects."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import click

from edge_sdk.cli.output import json_option, print_json, size

LIBRARIES = ("numpy", "numba", "llvmlite", "pillow", "onnx")
GPU_PACKAGES = ("cupy-cuda12x", "cupy-cuda13x", "nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc")
RUNTIMES = ("ai-edge-litert", "tflite-runtime", "onnxruntime", "coremltools")
CACHES: tuple[Literal["weights", "features", "tuning", "kernels"], ...] = ("weights", "features", "tuning", "kernels")
FLOAT_BITS = 32


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Print versions, processors, GPU, caches and the runtimes that are installed.

    Nothing is changed and nothing is downloaded. That there is no GPU, or no runtime, is no error.

    \b
    Examples:
      edge doctor
      edge doctor --json
    """
    from edge_sdk.threads import VARIABLE

    facts: dict[str, Any] = {
        "versions": _versions(),
        "processor": _processor(),
        "gpu": _gpu(),
        "caches": [_cache(kind) for kind in CACHES],
        "runtimes": {name: _version(name) for name in RUNTIMES},
        "gpu_libraries": _gpu_libraries(),
    }
    if as_json:
        print_json(facts)
        return
    processor, gpu = facts["processor"], facts["gpu"]
    lines = [
        (
            "versions",
            ", ".join(f"{name} {version or 'is not installed'}" for name, version in facts["versions"].items()),
        ),
        (
            "processor",
            f"{processor['name']}, {processor['processors']} processors, vectors of {processor['simd_bits']} bits",
        ),
        ("threads", f"{processor['threads']} ({VARIABLE}), run by {processor['threading_layer']}"),
        ("GPU", _shown(gpu)),
        *(
            (cache["kind"], f"{cache['folder']}: {_files(cache['files'])}, {size(cache['bytes'])}")
            for cache in facts["caches"]
        ),
        *((name, version or "not installed") for name, version in facts["runtimes"].items()),
        *facts["gpu_libraries"].items(),
    ]
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        click.echo(f"{name:{width}}  {text}")


def _versions() -> dict[str, str | None]:
    import platform

    from edge_sdk import __version__

    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    known = {"edge-sdk": __version__, "system": system, "python": platform.python_version()}
    return {**known, **{name: _version(name) for name in LIBRARIES}}


def _version(package: str) -> str | None:
    """The version of an installed package, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> dict[str, Any]:
    from edge_sdk.kernel import device_module, load_device
    from edge_sdk.threads import available_processors, get_threads, threading_layer

    load_device("cpu")  # which starts the threads
    return {
        "name": device_module("cpu", "machine").identity()["processor"].rpartition("-")[0],  # behind it is the width
        "processors": available_processors(),
        "simd_bits": FLOAT_BITS * device_module("cpu", "simd").LANES,
        "threads": get_threads(),
        "threading_layer": threading_layer(),
    }


def _gpu() -> dict[str, Any]:
    """What device "gpu" is and has free, or in one line why there is none; and the packages for one."""
    from edge_sdk.errors import EdgeError
    from edge_sdk.kernel import device_module

    facts: dict[str, Any] = {"description": None, "free_bytes": None, "reason": None}
    try:
        driver = device_module("gpu", "driver").current_driver()
        facts |= {"description": driver.description, "free_bytes": driver.free_bytes()}
    except EdgeError as error:
        facts["reason"] = str(error).partition("\n")[0]
    found = {name: _version(name) for name in GPU_PACKAGES}
    return {**facts, "packages": {name: version for name, version in found.items() if version is not None}}


def _shown(gpu: dict[str, Any]) -> str:
    packages = "".join(f", {name} {version}" for name, version in gpu["packages"].items())
    if gpu["description"] is None:
        return f"none: {gpu['reason']}{packages}"
    free = "" if gpu["free_bytes"] is None else f", {gpu['free_bytes'] / 2**30:.1f} GiB free"
    return f"{gpu['description']}{free}{packages}"


def _cache(kind: Literal["weights", "features", "tuning", "kernels"]) -> dict[str, Any]:
    """Folder, number of files and bytes; the others may lie below that of weights and are not counted as such."""
    from edge_sdk.cache_folder import cache_folder

    folder = cache_folder(kind)
    others = {cache_folder(other) for other in CACHES if other != kind}
    count = total = 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(place) / name not in others]
        for name in names:
            try:
                total += (Path(place) / name).stat().st_size
            except OSError:  # another process has removed it
                continue
            count += 1
    return {"kind": kind, "folder": str(folder), "files": count, "bytes": total}


def _gpu_libraries() -> dict[str, str]:
    """The versions of NVIDIA's libraries, or in one line each why it is not used."""
    from edge_sdk.kernel import device_module

    lines: dict[str, str] = device_module("gpu", "libraries").report_with_searches()
    return lines


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
