"""Two processes over gloo, started by torchrun, against one process with the joined batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from forks import ranks, script

from hf_guidance import Guidance, Term
from hf_guidance.attributions import InputXGradient
from hf_guidance.objectives import Energy

HERE = Path(__file__).parent
KINDS = ("resnet", "vit")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of the runs on one process and on two; each holds a folder for each kind of model."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    path = os.pathsep.join(map(str, (HERE, HERE.parents[1])))  # this checkout, whatever is installed
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    program = str(HERE / "distributed_training.py")
    ranks(1, script(program, 8, one, *KINDS))
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    command = [sys.executable, *launcher, program, "4", str(two), *KINDS]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-3000:]
    return one, two


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_equal_one(kind, runs, model_of):
    for folder in runs:
        saved = list((folder / kind).glob("checkpoint-*"))
        assert len(saved) == 2
        for checkpoint in saved:
            assert list(Guidance.load(checkpoint)) == ["task", "energy"]
    alone, together = (torch.load(runs[n - 1] / kind / f"{n}.pt", weights_only=False) for n in (1, 2))
    start = torch.cat([p.detach().flatten() for p in model_of(kind).parameters()])
    moved = (alone["weights"] - start).norm()
    assert moved > 0
    assert (alone["weights"] - together["weights"]).norm() < 1e-3 * moved
    for name in ("eval_epg", "eval_loss/energy", "eval_loss"):
        assert together["metrics"][name] == pytest.approx(alone["metrics"][name], rel=1e-3), name
    for first, second in zip(alone["logs"], together["logs"], strict=True):
        assert second["loss/energy"] == pytest.approx(first["loss/energy"], rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_panel_of_two_processes_is_drawn_once(kind, runs):
    records = [json.loads((folder / kind / "panels" / "panels.json").read_text()) for folder in runs]
    assert [[panel["step"] for panel in record["panels"]] for record in records] == [[0, 4, 8]] * 2
    alone, together = (record["panels"][-1]["losses"] for record in records)
    assert together == pytest.approx(alone, rel=1e-3)


NAMES = ("loss", "loss/task", "loss/energy", "loss/rrr", "undefined_share/energy", "undefined_share/rrr", "epg",
         "rrr_suff", "rrr_unc", "rrr_inv", "rrr_excluded_share", "accuracy", "worst_group_accuracy",
         "mean_group_accuracy")  # fmt: skip


@pytest.mark.parametrize("reduction", ["batch", "rows", "sum"])
@pytest.mark.parametrize("batch", [2, 4])
def test_every_row_counts_once_in_evaluation(runs, reduction, batch):
    """11 rows on two processes: rows that fill up the last batch are unlike the others, and must not be measured twice."""
    alone, together = (torch.load(folder / "evaluated.pt", weights_only=False) for folder in runs)
    # A mean over rows does not depend on the batches; a sum over a batch does.
    others = (2, 4) if reduction != "sum" else (batch,)
    found = together[reduction, batch]
    for expected in (alone[reduction, other] for other in others):
        for prefix in ("eval", "test"):
            for name in NAMES:
                one, two = (figures[prefix][f"{prefix}_{name}"] for figures in (expected, found))
                assert two == pytest.approx(one, rel=1e-5), (prefix, name)
        assert found["given"] == expected["given"]
        assert torch.allclose(found["logits"], expected["logits"], atol=1e-5)
    assert found["given"][0] == ([f"g{index % 3}" for index in range(11)], 11)
    total = (
        found["eval"]["eval_loss/task"] + 2 * found["eval"]["eval_loss/energy"] + 0.5 * found["eval"]["eval_loss/rrr"]
    )
    assert found["eval"]["eval_loss"] == pytest.approx(total, rel=1e-5)
    assert found["eval"]["eval_undefined_share/energy"] == pytest.approx(1 / 9, rel=1e-6)


def test_only_the_process_that_saves_writes_the_guidance(trainer_of, model_of, tmp_path, monkeypatch):
    guidance = Guidance(energy=Term(Energy(InputXGradient("input")), weight=2.0))
    trainer = trainer_of(model_of(), guidance)
    monkeypatch.setattr(type(trainer.args), "should_save", False)
    trainer.save_model(str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()
    monkeypatch.setattr(type(trainer.args), "should_save", True)
    trainer.save_model(str(tmp_path / "first"))
    assert Guidance.load(tmp_path / "first").to_json() == guidance.to_json()
