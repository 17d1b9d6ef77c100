"""Two processes over gloo, started by torchrun, against one process with the joined batch."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hf_guidance import Guidance, Term
from hf_guidance.attributions import InputXGradient
from hf_guidance.objectives import Energy

HERE = Path(__file__).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_two_processes_equal_one(kind, tmp_path, model_of):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    script = str(HERE / "distributed_training.py")
    one = [sys.executable, script, kind, "8", str(tmp_path)]
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    two = [sys.executable, *launcher, script, kind, "4"]
    for command in (one, [*two, str(tmp_path)]):
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr[-3000:]
        saved = list(tmp_path.glob("checkpoint-*"))
        assert len(saved) == 2
        for folder in saved:
            assert list(Guidance.load(folder)) == ["task", "energy"]
            shutil.rmtree(folder)
    alone, together = (torch.load(tmp_path / f"{n}.pt", weights_only=False) for n in (1, 2))
    start = torch.cat([p.detach().flatten() for p in model_of(kind).parameters()])
    moved = (alone["weights"] - start).norm()
    assert moved > 0
    assert (alone["weights"] - together["weights"]).norm() < 1e-3 * moved
    for name in ("eval_epg", "eval_loss/energy", "eval_loss"):
        assert together["metrics"][name] == pytest.approx(alone["metrics"][name], rel=1e-3), name
    for first, second in zip(alone["logs"], together["logs"], strict=True):
        assert second["loss/energy"] == pytest.approx(first["loss/energy"], rel=1e-3, abs=1e-6)


def test_only_the_process_that_saves_writes_the_guidance(trainer_of, model_of, tmp_path, monkeypatch):
    guidance = Guidance(energy=Term(Energy(InputXGradient("input")), weight=2.0))
    trainer = trainer_of(model_of(), guidance)
    monkeypatch.setattr(type(trainer.args), "should_save", False)
    trainer.save_model(str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()
    monkeypatch.setattr(type(trainer.args), "should_save", True)
    trainer.save_model(str(tmp_path / "first"))
    assert Guidance.load(tmp_path / "first").to_json() == guidance.to_json()
