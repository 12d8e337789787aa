"""Which tensors of a checkpoint are the network's: scripts save them beside optimizers, averages and counters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edge_sdk.converters.torch.symbols import Tensor
from edge_sdk.errors import FormatError, UsageError, suggestion

# Where scripts keep the weights, the surest first: Lightning, timm and old examples; torchvision; tutorials; others.
# The weights themselves come before their running averages.
PLACES = (
    "state_dict", "model_state_dict", "model", "model_state", "net", "network", "module", "weights", "params",
    "state_dict_ema", "model_ema", "model_ema_state_dict", "ema_state_dict", "ema", "params_ema",
)  # fmt: skip
NEVER = ("optim", "scheduler", "scaler", "callbacks", "loops")
MAX_DEPTH = 4


def select_tensors(root: Any, part: str | None = None) -> dict[str, Tensor]:
    """Return the tensors of one dictionary of a checkpoint.

    `part` is the dictionary's place, keys joined by dots, such as "model_ema"; "" is the checkpoint itself.

    Raises:
        FormatError: there are no tensors, or several dictionaries of them and none has a usual name.
        UsageError: there is no such part.
    """
    if not isinstance(root, dict):
        raise FormatError(f"the checkpoint holds a {type(root).__name__}; expected a dictionary of tensors")
    found = {place: tensors for place, tensors in _dictionaries(root) if tensors}
    if not found:
        shown = ", ".join(repr(str(key)[:40]) for key in list(root)[:8])
        raise FormatError(f"the checkpoint has no named tensors; it holds {shown or 'nothing'}")
    if part is not None:
        if part not in found:
            raise UsageError(f"part {part!r} is not one of {_listed(found)}{suggestion(part, found)}")
        return found[part]
    if len(found) == 1:
        return next(iter(found.values()))
    usual = [place for name in PLACES for place in found if place.split(".")[0] == name]
    if usual:
        return found[usual[0]]
    if "" in found:
        return found[""]
    raise FormatError(f"the checkpoint has several sets of tensors: {_listed(found)}; choose one as `part`")


def _listed(found: dict[str, dict[str, Tensor]]) -> str:
    rows = [f"{place[:80]!r} ({len(tensors)} tensors)" for place, tensors in found.items()]
    return ", ".join(rows[:8]) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")


def _dictionaries(root: dict[Any, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the tensors of each dictionary with its place, the outer ones first; each dictionary once."""
    level: list[tuple[str, dict[Any, Any]]] = [("", root)]
    seen = {id(root)}
    for _ in range(MAX_DEPTH):
        deeper: list[tuple[str, dict[Any, Any]]] = []
        for place, values in level:
            yield place, {key: v for key, v in values.items() if isinstance(key, str) and isinstance(v, Tensor)}
            for key, value in values.items():
                if not isinstance(key, str) or not isinstance(value, dict) or id(value) in seen:
                    continue
                if not any(word in key.lower() for word in NEVER):
                    seen.add(id(value))
                    deeper.append((f"{place}.{key}" if place else key, value))
        level = deeper
