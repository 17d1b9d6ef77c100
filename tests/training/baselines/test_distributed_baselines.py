"""Two processes over gloo against one process with the joined batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from forks import ranks, script
from placed_rows import small_model, weights_of

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    found = []
    for count in (1, 2):
        folder = tmp_path_factory.mktemp(f"of{count}")
        ranks(count, script(HERE / "distributed_baselines.py", folder))
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
