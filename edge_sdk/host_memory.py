"""How much memory this process can still take, where the system says so without being asked long."""

from __future__ import annotations

from pathlib import Path

PROC, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def available_bytes(proc: Path = PROC, cgroup: Path = CGROUP) -> int | None:
    """Return the bytes that can be taken before the system runs out, swap included; None where nothing says so.

    On Linux that is MemAvailable + SwapFree of /proc/meminfo, or less in a container with a limit (cgroup version 2).
    """
    try:
        lines = dict(line.split(":", 1) for line in proc.read_text("ascii").splitlines() if ":" in line)
        kib = [int(lines[name].split()[0]) for name in ("MemAvailable", "SwapFree")]
    except (OSError, KeyError, ValueError, IndexError):
        return None
    left, in_container = 1024 * sum(kib), _left_in_container(cgroup)
    return left if in_container is None else min(left, in_container)


def _left_in_container(cgroup: Path) -> int | None:
    """What the container's limit leaves; pages of files that can be dropped do not count as taken."""
    try:
        limit, taken = (int((cgroup / name).read_text("ascii")) for name in ("memory.max", "memory.current"))
        statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text("ascii").splitlines())
        return max(0, limit - taken + int(statistics["inactive_file"]))
    except (OSError, KeyError, ValueError):  # no limit reads "max"
        return None
