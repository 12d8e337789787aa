"""What XNNPACK really takes of a file: asked of the runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def taken_by_xnnpack(data: bytes) -> set[int]:
    """Places of the operators that the interpreter gave to the delegate.

    The interpreter lists its own operators, then those of the delegate with the tensors that go in and come out: what
    is computed between them is the delegate's.
    """
    interpreter = _interpreter(data)
    operators: list[dict[str, Any]] = interpreter._get_ops_details()
    plain = [operator for operator in operators if operator["op_name"] != "DELEGATE"]
    producers = {int(tensor): operator for operator in plain for tensor in operator["outputs"]}
    found: set[int] = set()
    for part in (operator for operator in operators if operator["op_name"] == "DELEGATE"):
        waiting, outside = [int(tensor) for tensor in part["outputs"]], {int(tensor) for tensor in part["inputs"]}
        while waiting:
            tensor = waiting.pop()
            if tensor in outside or tensor not in producers or producers[tensor]["index"] in found:
                continue
            found.add(producers[tensor]["index"])
            waiting += [int(source) for source in producers[tensor]["inputs"]]
    return found


def _interpreter(data: bytes) -> Any:
    module = pytest.importorskip("ai_edge_litert.interpreter")
    make: Callable[..., Any] = module.Interpreter
    interpreter = make(model_content=data)
    interpreter.allocate_tensors()
    return interpreter
