"""Processes that mpiexec started, connected by a real MPI library: an environment with mpi4py and MPICH."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clients.environments import python_with, run
from source_tree import lay_out

pytestmark = pytest.mark.clients
PACKAGES = ["mpi4py>=4", "mpich>=4", "numpy", "pillow"]
PROGRAM = """
import sys
from parallel_runs import exchanged
from parallel_checks import check
from edge_sdk.parallel.mpi import MPICommunicator

communicator = MPICommunicator()
check(exchanged(communicator), communicator.size)
print(f"process {communicator.rank} of {communicator.size}", flush=True)
"""


def test_processes_share_sums_through_mpi(environments: Path, tmp_path: Path) -> None:
    """What processes of one machine exchange through shared memory, three of them exchange through MPI."""
    python = python_with(environments / "mpi", PACKAGES)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    paths = [str(lay_out(tmp_path / "sources")), str(Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    done = run(python.parent / "mpiexec", "-n", 3, python, program, environment=environment)

    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"process {rank} of 3" for rank in range(3)]
