"""Outputs of PyTorch, stored by stored/make_torch_outputs.py."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _outputs() -> dict[str, Any]:
    outputs: dict[str, Any] = json.loads(
        (Path(__file__).parent / "stored" / "torch_outputs.json").read_text(encoding="utf-8")
    )
    return outputs


def torch_output(name: str) -> Any:
    """Return one stored output as nested lists."""
    return _outputs()[name]
