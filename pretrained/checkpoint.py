"""PyTorch state_dicts as our weights: names mapped, layouts turned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_sdk.errors import FormatError
from edge_sdk.graph import Graph
from edge_sdk.model import HEAD
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.shape import Flatten
from edge_sdk.spec import Array, Value
from edge_sdk.workspace import Workspace

_BATCH_NORM = {"scale": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}
_IGNORED = "num_batches_tracked"


def published_name(parameter: str, layers: Mapping[str, str]) -> str:
    """The state_dict key of one of our parameters."""
    layer, _, part = parameter.rpartition(".")
    return f"{layers[layer]}.{_BATCH_NORM.get(part, part)}"


def count_classes(state: Mapping[str, Array], layers: Mapping[str, str], source: str) -> int:
    """How many classes the checkpoint's classifier has."""
    key = f"{layers['head']}.weight"
    if key not in state or state[key].ndim not in (2, 4):
        raise FormatError(f"{source}: there is no classifier {key!r} in it; it is a checkpoint of another network")
    return int(state[key].shape[0])


def weights_from_checkpoint(
    graph: Graph,
    initial: Workspace,
    state: Mapping[str, Array],
    layers: Mapping[str, str],
    source: str,
    ignored: tuple[str, ...] = (),
) -> Workspace:
    """Return the weights of `graph` from a state_dict; the head keeps its initial values when its size differs.

    Tensors whose keys start with one of `ignored` may be there and are not read.

    Raises:
        FormatError: keys are missing, left over or of another shape; all of them are counted, the first is named.
    """
    arrays, used, missing, misfits = Workspace(), set(), [], []
    for parameter in graph.params:
        key = published_name(parameter, layers)
        used.add(key)
        if key not in state:
            missing.append(key)
            continue
        wanted = graph.specs[parameter].shape
        if parameter.startswith(HEAD) and state[key].shape[:1] != wanted[:1]:
            arrays[parameter] = initial[parameter]
            continue
        array = _turned(graph, parameter, state[key])
        if array.shape != wanted:
            misfits.append(f"{key} is {list(state[key].shape)}, wanted {list(wanted)} after turning")
            continue
        arrays[parameter] = np.ascontiguousarray(array, dtype=np.float32)
    extra = [key for key in state if key not in used and not key.endswith(_IGNORED) and not key.startswith(ignored)]
    if missing or misfits or extra:
        first = f"{missing[0]!r} is missing" if missing else misfits[0] if misfits else f"{extra[0]!r} is unknown"
        raise FormatError(
            f"{source}: not a checkpoint of {graph.name}: {first} "
            f"({len(missing)} keys missing, {len(misfits)} of another shape, {len(extra)} unknown)"
        )
    return arrays


def _turned(graph: Graph, parameter: Value, array: Array) -> Array:
    """PyTorch's layouts to ours: (out, in, h, w) to (out, h, w, in), depthwise (c, 1, h, w) to (1, h, w, c), and the
    columns of a dense layer behind a flattened image from (c, h, w) to (h, w, c).
    """
    node = graph.consumers(parameter)[0]
    if array.ndim == 4:
        wanted = graph.specs[parameter].shape
        depthwise = wanted[0] == 1 and array.shape[1] == 1
        return np.asarray(array.transpose(1, 2, 3, 0) if depthwise else array.transpose(0, 2, 3, 1))
    if array.ndim == 2 and isinstance(node.op, Linear):
        source = graph.producer(node.inputs[0])
        while source is not None and not isinstance(source.op, Flatten) and source.op.name == "dropout":
            source = graph.producer(source.inputs[0])
        if source is not None and isinstance(source.op, Flatten):
            _, h, w, c = graph.specs[source.inputs[0]].shape
            if array.shape[1] == h * w * c:
                return np.asarray(array.reshape(-1, c, h, w).transpose(0, 2, 3, 1).reshape(len(array), -1))
    return array
