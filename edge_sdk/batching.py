"""How many photos inference takes at a time."""

from __future__ import annotations

from edge_sdk.graph import Graph
from edge_sdk.memory_plan import plan_memory

CACHE_BYTES = 12 << 20  # of a last-level cache, left for the values of a run beside the weights
GPU_BYTES = 256 << 20
"""For the values of a run on a GPU: enough rows to fill it, and little of its memory, for training may be there too."""


def piece_size(graph: Graph, batch: int, device: str = "cpu") -> int:
    """Return the size of the pieces in which a batch makes least traffic with memory.

    Values that fit the last-level cache are written and read there, but weights are read for every piece. So it is the
    largest piece that fits, unless that reads more weights again than it saves: networks with much weight and little
    picture run in one piece. On a GPU it is the largest piece whose values take no more than `GPU_BYTES`.
    """
    bound = graph.bind(batch)
    weights = sum(bound.specs[value].bytes for value in bound.params)
    values = sum(bound.specs[value].bytes for node in bound.nodes for value in node.outputs)
    arena = plan_memory(bound, [()] * len(bound.nodes)).arena_bytes
    if arena <= (GPU_BYTES if device == "gpu" else CACHE_BYTES):
        return batch
    if device == "gpu":
        return -(-batch // -(-arena // GPU_BYTES))
    piece = max(1, batch * CACHE_BYTES // arena)
    pieces = -(-batch // piece)
    piece = -(-batch // pieces)
    # Each value is written once and read about once; a line that is written is read first.
    saved = 3 * values if arena * piece // batch <= CACHE_BYTES else 0
    return piece if (pieces - 1) * weights < saved // 2 else batch
