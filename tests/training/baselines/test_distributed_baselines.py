"""Two processes over gloo, started by torchrun, against one process with the joined batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from placed_rows import small_model, weights_of

HERE = Path(__file__).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = os.pathsep.join(map(str, (HERE, HERE.parents[2])))  # this checkout, whatever is installed
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    found = []
    for count, before in ((1, []), (2, launcher)):
        folder = str(tmp_path_factory.mktemp(f"of{count}"))
        command = [sys.executable, *before, str(HERE / "distributed_baselines.py"), folder]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert run.returncode == 0, run.stderr[-3000:]
        found.append(torch.load(f"{folder}/{count}.pt", weights_only=True))
    return found


def test_two_processes_equal_one(results):
    alone, together = results
    moved = (alone["weights"] - weights_of(small_model())).norm()
    assert (alone["weights"] - together["weights"]).norm() < 1e-3 * moved
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-3)


def test_a_state_that_would_differ_between_processes_is_refused(results):
    alone, together = results
    assert not alone["refused"]
    assert "GroupDRO on 2 processes: its state would differ between them" in together["refused"]
