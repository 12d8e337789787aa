"""The .cu files: their text with what they include, for one stored type."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.spec import BFLOAT16_BITS

FOLDER = Path(__file__).parent / "cuda"


@dataclass(frozen=True)
class Scalar:
    """How numbers of a dtype lie in memory, and in which type a kernel computes with them."""

    stored: str
    computed: str
    switch: str = ""
    """A macro that common.cuh asks for."""


SCALARS: Mapping[str, Scalar] = {
    "float32": Scalar("float", "float"),
    "float64": Scalar("double", "double"),
    "float16": Scalar("__half", "float", "SCALAR_IS_HALF"),
    "bfloat16": Scalar("__nv_bfloat16", "float", "SCALAR_IS_BFLOAT16"),
    "int8": Scalar("signed char", "int"),
    "uint8": Scalar("unsigned char", "int"),
    "int16": Scalar("short", "int"),
    "int32": Scalar("int", "int"),
    "int64": Scalar("long long", "long long"),
    "bool": Scalar("bool", "bool"),
}

_INCLUDE = re.compile(r'#include "(\w+\.cuh)"')
_BARRIER = re.compile(r"__sync\w+\(|__shfl\w*\(")


@dataclass(frozen=True)
class Line:
    """A line that the compiler reads, and where it stands."""

    text: str
    file: str
    number: int


@dataclass(frozen=True)
class Source:
    """One .cu file compiled for numbers of one dtype."""

    name: str
    dtype: str = "float32"
    tensor_cores: bool = False
    """Whether products are left to tensor cores; of float32 they round factors to TF32."""

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The definitions, then the file with every include in its place, once."""
        scalar = SCALARS[self.dtype]
        defined = [f"#define SCALAR {scalar.stored}", f"#define COMPUTE {scalar.computed}"]
        if scalar.switch:
            defined.append(f"#define {scalar.switch} 1")
        if self.tensor_cores:
            defined.append("#define TENSOR_CORES 1")
        given = [Line(text, "definitions", number) for number, text in enumerate(defined, 1)]
        return (*given, *_with_includes(f"{self.name}.cu", set()))

    @cached_property
    def text(self) -> str:
        """What the compiler reads."""
        return "".join(f"{line.text}\n" for line in self.lines)

    @property
    def digest(self) -> str:
        """A hash of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def has_barriers(self) -> bool:
        """Whether any thread waits for others."""
        return bool(_BARRIER.search(self.text))


@cache
def source(name: str, dtype: str = "float32", tensor_cores: bool = False) -> Source:
    """Return the file `name`.cu for numbers of `dtype`; raises UsageError for an unknown one.

    Arrays of the device hold bfloat16 as its bits, whose name for it is taken too.
    """
    dtype = "bfloat16" if dtype == BFLOAT16_BITS else dtype
    if not (FOLDER / f"{name}.cu").is_file():
        known = source_names()
        raise UsageError(f"no kernels/gpu/cuda/{name}.cu{suggestion(name, known)}")
    if dtype not in SCALARS:
        raise UsageError(f"no CUDA kernel stores {dtype}; known are {', '.join(SCALARS)}{suggestion(dtype, SCALARS)}")
    return Source(name, dtype, tensor_cores)


def source_names() -> tuple[str, ...]:
    """Return the names of all .cu files."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.cu")))


def _with_includes(name: str, done: set[str]) -> Iterator[Line]:
    if name in done:
        return
    done.add(name)
    for number, text in enumerate((FOLDER / name).read_text(encoding="utf-8").splitlines(), 1):
        if included := _INCLUDE.fullmatch(text):
            yield from _with_includes(included.group(1), done)
        elif text != "#pragma once":
            yield Line(text, name, number)
