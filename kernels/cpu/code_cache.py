"""Compiled kernels on disk: one folder for all that the machine code depends on, shared by concurrent processes.

Numba's own key knows the function's bytecode and the processor, but not the modules that a function uses; a file that
was cut short raises out of a call, and wrong machine code would end the process. So everything that decides the code
is in the folder's name, and each file carries a checksum: what does not fit it is compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba
from numba.core import caching
from numba.core.runtime import rtsys

from edge_sdk import __version__
from edge_sdk.cache_folder import cache_folder
from edge_sdk.compilation import LOGGER, compiled, compiling, folder_is, function_loaded

KEPT = 4  # folders of other versions
SECONDS_IN_USE = 24 * 3600.0  # since its last start, a folder may still be another process's
MARK = "key.json"
CHECKSUM = 16  # bytes in front of each file

# Variables of Numba that do not change the code it makes.
HARMLESS = {"NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY", "NUMBA_CACHE_DIR"}


def sources_digest() -> str:
    """Return the SHA-256 of all sources of the kernels: any of them may be part of any machine code."""
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        sources.update(path.name.encode() + b"\0" + path.read_bytes())
    return sources.hexdigest()


def key() -> dict[str, str]:
    """Return everything that the machine code depends on."""
    return {
        "edge_sdk": __version__,
        "sources": sources_digest(),
        "python": f"{platform.python_version()} {sys.implementation.cache_tag} {getattr(sys, 'abiflags', '')}",
        "numba": numba.__version__,
        "llvmlite": f"{llvmlite.__version__} LLVM {'.'.join(map(str, llvmlite.binding.llvm_version_info))}",
        "system": f"{sys.platform} {platform.machine()}",
        "processor": llvmlite.binding.get_host_cpu_name(),
        "features": llvmlite.binding.get_host_cpu_features().flatten(),
        "lanes": os.environ.get("EDGE_SIMD_LANES", "native"),
        **{name: value for name, value in os.environ.items() if name.startswith("NUMBA_") and name not in HARMLESS},
    }


def _open_folder() -> Path:
    """Return the folder of this key: in the user's cache, or a temporary one when that cannot be written."""
    known = json.dumps(key(), indent=1, sort_keys=True)
    name = f"{__version__}-{hashlib.sha256(known.encode()).hexdigest()[:20]}"
    cache = cache_folder("kernels")
    try:
        folder = _usable(cache / name, known)
    except OSError as error:
        folder = _temporary(name, known)
        reason = error.strerror or str(error)
        LOGGER.warning("compiled kernels cannot be kept in %s (%s); they go to %s", cache, reason, folder)
    else:
        remove_old(cache, folder)
    folder_is(folder)
    return folder


def _usable(folder: Path, mark: str) -> Path:
    """Make the folder, and write into it: whether that works is seen in no other way."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / MARK, mark.encode())  # its time says when the folder was used last
    return folder


def _temporary(name: str, mark: str) -> Path:
    """A folder that outlives the process, if it is this user's alone; nobody else may hand us code."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    base = Path(tempfile.gettempdir()) / f"edge-sdk-{user}"
    with contextlib.suppress(OSError):
        base.mkdir(mode=0o700, exist_ok=True)
        status = base.lstat()
        foreign = hasattr(os, "getuid") and (status.st_uid != user or status.st_mode & 0o022)
        if not base.is_symlink() and not foreign:
            return _usable(base / name, mark)
    return Path(tempfile.mkdtemp(prefix="edge-sdk-kernels-"))


def remove_old(cache: Path, current: Path) -> None:
    """Remove the folders of other keys but the newest few, and none that was used within a day."""
    with contextlib.suppress(OSError):
        others = [(_last_used(folder), folder) for folder in cache.iterdir() if folder.is_dir() and folder != current]
        for used, folder in sorted(others, reverse=True)[KEPT:]:
            if time.time() - used < SECONDS_IN_USE:
                continue
            with contextlib.suppress(OSError):
                # Renamed first: whoever starts meanwhile sees a whole folder or none.
                gone = folder.rename(folder.with_name(f"removed-{uuid.uuid4().hex[:8]}"))
                shutil.rmtree(gone, ignore_errors=True)


def _last_used(folder: Path) -> float:
    with contextlib.suppress(OSError):
        return (folder / MARK).stat().st_mtime
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime
    return time.time()  # another process removes it just now


def _write(path: Path, content: bytes) -> None:
    """Write a file that appears whole; processes that do so at once leave one of theirs."""
    part = path.with_name(f".{uuid.uuid4().hex[:12]}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


class _File:
    """The compiled forms of one function in one file: its types and target → machine code."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[Any, bytes]:
        """Return the forms; none where there is no file, or a damaged one."""
        import pickle

        try:
            content = self._path.read_bytes()
        except OSError:
            return {}
        if hashlib.blake2b(content[CHECKSUM:], digest_size=CHECKSUM).digest() != content[:CHECKSUM]:
            return {}
        forms: dict[Any, bytes] = pickle.loads(content[CHECKSUM:])  # noqa: S301 - our own, by its checksum
        return forms

    def add(self, form: Any, code: Any) -> None:
        """Add a form to what other processes have added."""
        content = caching.dumps({**self.read(), form: caching.dumps(code)})
        _write(self._path, hashlib.blake2b(content, digest_size=CHECKSUM).digest() + content)


class KernelCache(caching.FunctionCache):
    """Numba's cache of one function, in our folder and files; a fault of the disk costs time, never a result."""

    _folder: Path | None = None
    _unwritable = False

    def __init__(self, function: Any) -> None:
        self._py_func = function
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self._impl = _Code()
        self._known: dict[Any, bytes] | None = None
        if KernelCache._folder is None:
            KernelCache._folder = _open_folder()
        # Functions made in one place by a factory differ in what they enclose.
        self._form = _enclosed(function)
        place = f"{self._name}-{function.__code__.co_firstlineno}".replace("<", "").replace(">", "")
        self._file = _File(KernelCache._folder / f"{place}.kernel")
        self.enable()

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(KernelCache._folder)

    def flush(self) -> None:
        """Forget the function's code."""
        self._known = {}
        with contextlib.suppress(OSError):
            self._file._path.unlink(missing_ok=True)  # noqa: SLF001 - one file, two halves

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the function for these types, or None, after which Numba compiles it.

        Numba's own would refresh the context first, which imports all that a compiler may need, SciPy among it, and
        takes as long as the first training step; machine code needs the runtime alone.
        """
        import pickle

        rtsys.initialize(target_context)
        if self._known is None:
            self._known = self._file.read()
        code = self._known.get(self._index_key(sig, target_context.codegen()))
        if code is not None:
            try:
                found = self._impl.rebuild(target_context, pickle.loads(code))  # noqa: S301
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it can be compiled again
                LOGGER.warning("%s: its compiled code cannot be loaded (%s); compiling it again", self._name, error)
                self.flush()
            else:
                function_loaded()
                return found
        compiling(self._name)
        return None

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        """Types, target, and what the function encloses: Numba's own has a random number for an enclosed function, so
        that what a factory makes would be compiled anew in every process.
        """
        return str(sig), codegen.magic_tuple(), self._form

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function; where that is not possible, say so once."""
        compiled(self._name)
        if not self._impl.check_cachable(data):
            return
        try:
            self._file.add(self._index_key(sig, data.codegen), self._impl.reduce(data))
        except OSError as error:
            if not KernelCache._unwritable:
                KernelCache._unwritable = True
                reason = error.strerror or str(error)
                LOGGER.warning("compiled kernels cannot be kept in %s (%s); the next start compiles again",
                               KernelCache._folder, reason)  # fmt: skip


def _enclosed(function: Any) -> str:
    """What tells apart the functions that a factory makes; their common source is in the folder's name."""
    described = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        value = cell.cell_contents
        inner = getattr(value, "py_func", value)
        if callable(inner) and hasattr(inner, "__code__"):
            described.append(f"{name}={inner.__module__}.{inner.__qualname__}({_enclosed(inner)})")
        elif isinstance(value, bool | int | float | str | tuple | None):
            described.append(f"{name}={value!r}")
        else:
            raise TypeError(f"{function.__qualname__} encloses {name}, a {type(value).__name__}; enclose plain values")
    return ", ".join(described)


class _Code(caching.CompileResultCacheImpl):
    """How Numba turns a compiled function into bytes and back, without its own choice of folders."""

    def __init__(self) -> None:
        pass

    def check_cachable(self, cres: Any) -> bool:
        """Whether the code holds no address of this process."""
        return not cres.library.has_dynamic_globals and all(lifted.can_cache for lifted in cres.lifted)
