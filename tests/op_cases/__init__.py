"""The operator table: CASES lists every row of every family module in this folder."""

from __future__ import annotations

import importlib
import pkgutil

from op_cases.case import Case

CASES: list[Case] = []
for _module in pkgutil.iter_modules(__path__):
    CASES += getattr(importlib.import_module(f"op_cases.{_module.name}"), "CASES", [])

_names = [case.name for case in CASES]
if len(set(_names)) != len(_names):
    raise ValueError(f"two rows share a name: {min(n for n in _names if _names.count(n) > 1)}")
