"""How well the accesses of a kernel use a GPU's memory: sectors that its warps ask for, and conflicts of banks.

Accesses of the lanes of a warp are one request where they come from one instruction, each lane's n-th time there.
Memory is moved in sectors of 32 bytes: a request takes as many as it touches, and could do with its bytes over 32.
Shared memory has 32 banks of 4 bytes: a request takes as many turns as the bank with the most different words, and one
at best; of 8 bytes a lane, half a warp is served at a time, of 16 a quarter (CUDA C++ Best Practices Guide, 10.2).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge_sdk.kernels.gpu.emulation_library import Library
from edge_sdk.spec import Array

SECTOR, WORD, BANKS, WARP, WIDEST = 32, 4, 32, 32, 16
RECORD = np.dtype(
    [("address", "u8"), *((name, "u4") for name in ("place", "block", "thread", "size", "writes", "shared"))]
)
"""`Record` of emulation/checks.cpp."""


@dataclass(frozen=True)
class Instruction:
    """What one instruction of a kernel asked for, over all warps that were recorded."""

    kernel: str
    place: str
    writes: bool
    shared: bool
    requests: int
    taken: int
    """Sectors of memory, or turns of shared memory."""
    least: int
    """As few as would do for the same bytes."""

    @property
    def efficiency(self) -> float:
        """From 0 to 1, which is best."""
        return self.least / self.taken

    def __str__(self) -> str:
        """As a line of a table."""
        of = "shared" if self.shared else "memory"
        does = "writes" if self.writes else "reads"
        return f"{self.kernel}: {does} {of}, {self.least} of {self.taken} ({self.efficiency:.0%}), {self.place}"


class Recording:
    """Keeps what the first blocks of each launch access, and says what its instructions took."""

    def __init__(self, blocks: int = 1) -> None:
        self.instructions: list[Instruction] = []
        """Of all launches so far, those of each from the least efficient one on."""
        self._blocks = blocks

    def begin(self, library: Library) -> None:
        """Let the next launch be recorded."""
        library.handle.emulated_record(self._blocks)

    def end(self, library: Library, kernel: str) -> None:
        """Take what was recorded."""
        first = ctypes.c_void_p()
        library.handle.emulated_recorded.restype = ctypes.c_uint64
        count = library.handle.emulated_recorded(ctypes.byref(first))
        library.handle.emulated_record(0)
        if count:
            records = np.frombuffer(ctypes.string_at(first.value or 0, count * RECORD.itemsize), RECORD)
            self.instructions.extend(instructions(library, kernel, records))


def instructions(library: Library, kernel: str, records: Array) -> list[Instruction]:
    """Return what each instruction of a launch took, the worst first."""
    found = []
    for place in np.unique(records["place"]):
        for shared in (0, 1):
            for writes in (0, 1):
                chosen = (records["place"] == place) & (records["shared"] == shared) & (records["writes"] == writes)
                if chosen.any():
                    requests = list(_requests(records[chosen]))
                    count = _turns if shared else _sectors
                    taken, least = map(sum, zip(*(count(*request) for request in requests), strict=True))
                    where = library.place(int(place))
                    found.append(Instruction(kernel, where, bool(writes), bool(shared), len(requests), taken, least))
    return sorted(found, key=lambda one: one.efficiency)


def _requests(records: Array) -> Iterator[tuple[Array, Array, int]]:
    """Lanes, addresses and the number of bytes of each request of one instruction."""
    threads = records["block"].astype(np.int64) * 1024 + records["thread"]
    order = np.argsort(threads, kind="stable")
    records, threads = records[order], threads[order]
    begins = np.flatnonzero(np.diff(threads, prepend=-1))
    times = np.arange(len(threads)) - np.repeat(begins, np.diff([*begins, len(threads)]))
    request = (threads // WARP << 32) + times
    order = np.argsort(request, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(request[order])) + 1):
        size = int(records["size"][part[0]])
        lanes, addresses = threads[part] % WARP, records["address"][part].astype(np.int64)
        step = size if size in (1, 2, 4, 8, WIDEST) else WIDEST if size % WIDEST == 0 else WORD
        for offset in range(0, size, step):
            yield lanes, addresses + offset, step


def _sectors(lanes: Array, addresses: Array, size: int) -> tuple[int, int]:
    bytes_asked = np.unique(addresses[:, None] + np.arange(size))
    return len(np.unique(bytes_asked // SECTOR)), -(-len(bytes_asked) // SECTOR)


def _turns(lanes: Array, addresses: Array, size: int) -> tuple[int, int]:
    taken = least = 0
    together = min(WARP, WARP * WORD // size)
    for first in range(0, WARP, together):
        chosen = addresses[(lanes >= first) & (lanes < first + together)]
        if chosen.size:
            words = np.unique((chosen[:, None] + np.arange(0, size, WORD)) // WORD)
            taken += int(np.bincount(words % BANKS).max())
            least += 1
    return taken, least
