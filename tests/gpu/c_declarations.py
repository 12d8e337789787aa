"""Declarations for ctypes, compared with a C header by a C++ compiler: what differs does not compile."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_sdk.kernels.gpu.libraries import Entry

_PRELUDE = """
#include <cstddef>
#include <initializer_list>
#include <type_traits>
template <class T> constexpr int form() {
  if constexpr (std::is_void_v<T>) return 0;
  else if constexpr (std::is_pointer_v<T>) return 1000 + sizeof(T);
  else if constexpr (std::is_enum_v<T>) return 2000 + sizeof(T);
  else if constexpr (std::is_integral_v<T>) return 2000 + sizeof(T);
  else if constexpr (std::is_floating_point_v<T>) return 3000 + sizeof(T);
  else return -1;
}
template <class R, class... A> constexpr bool same(R (*)(A...), std::initializer_list<int> forms) {
  const int declared[] = {form<R>(), form<A>()...};
  if (forms.size() != sizeof...(A) + 1) return false;
  for (size_t i = 0; i < forms.size(); i++)
    if (forms.begin()[i] != declared[i]) return false;
  return true;
}
"""


def program(header: str, entries: Sequence[Entry], values: Mapping[str, int], structures: Mapping[str, Any]) -> str:
    """Return C++ that compiles where a header has these functions, constants and structures."""
    lines = [f"#include <{header}>", _PRELUDE]
    for entry in entries:
        forms = ", ".join(map(str, (_form(entry.returns), *map(_form, entry.takes))))
        lines.append(f'static_assert(same(&{entry.name}, {{{forms}}}), "{entry.name}");')
    lines += [f'static_assert((long long){name} == {value}, "{name}");' for name, value in values.items()]
    for name, structure in structures.items():
        lines.append(f'static_assert(sizeof({name}) == {ctypes.sizeof(structure)}, "{name}");')
        for field, *_ in structure._fields_:
            offset = getattr(structure, field).offset
            lines.append(f'static_assert(offsetof({name}, {field}) == {offset}, "{name}.{field}");')
    return "\n".join(lines) + "\n"


def complaints(text: str) -> str:
    """Return what the compiler says against a program: nothing where all is well."""
    folders = header_folders()
    command = ["g++", "-std=c++17", "-fsyntax-only", "-w", "-x", "c++", "-", *(f"-I{folder}" for folder in folders)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stderr


def header_folders() -> list[Path]:
    """Return where NVIDIA's packages keep headers; skips the test where there are none, or no compiler."""
    nvidia = pytest.importorskip("nvidia", reason="NVIDIA's packages are not installed: pip install '.[cudnn-cuda13]'")
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: headers cannot be read")
    return [path for root in nvidia.__path__ for path in sorted(Path(root).glob("*/include"))]


def _form(kind: Any) -> int:
    """A C type's kind and size, as `form` above has them."""
    if kind is None:
        return 0
    if kind in (ctypes.c_void_p, ctypes.c_char_p):
        return 1000 + ctypes.sizeof(kind)
    return (3000 if kind is ctypes.c_float else 2000) + ctypes.sizeof(kind)
