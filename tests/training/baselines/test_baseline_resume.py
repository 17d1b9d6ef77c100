"""A training with a compared method that is resumed ends as if it had not been interrupted, bit by bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from placed_rows import place_rows, small_model, unsure_model, weights_of

from hf_guidance.training.baselines import ERM, FLAC, LC, CnC, GroupDRO, JtT, LfF, MaskTune, SoftCon
from hf_guidance.training.baselines.state_file import STATE_FILE

METHODS = {
    "erm": ERM(), "jtt": JtT(copies=1), "group_dro": GroupDRO(step_size=0.5), "lff": LfF(), "mask_tune": MaskTune(),
    "cnc": CnC(identifier=unsure_model()), "soft_con": SoftCon(small_model(3)), "flac": FLAC(small_model(3)),
    "lc": LC(ramp_epochs=2),
    "lc_running": LC(average="running", decay=0.5),
}  # fmt: skip


def states(trainer):
    further = trainer._further.state()["models"] if trainer._further else {}
    weights = {f"{name}.{key}": value for name, model in further.items() for key, value in model.items()}
    return {**trainer._run.state(), **weights}


@pytest.mark.parametrize("steps", ["epoch", 2])
@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_training_is_the_whole_one(baseline, tmp_path, name, steps):
    saving = {"save_strategy": "epoch"} if steps == "epoch" else {"save_strategy": "steps", "save_steps": steps}
    settings = {"num_train_epochs": 2, "weight_decay": 0.01, **saving}
    whole = baseline(METHODS[name], output_dir=str(tmp_path / "whole"), **settings)
    whole.train()
    first = min((tmp_path / "whole").glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
    assert (first / STATE_FILE).is_file()
    resumed = baseline(METHODS[name], small_model(7), output_dir=str(tmp_path / "resumed"), **settings)
    resumed.train(resume_from_checkpoint=str(first))
    assert resumed.state.global_step == whole.state.global_step
    assert torch.equal(weights_of(resumed.model), weights_of(whole.model))
    ours, theirs = states(resumed), states(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.fixture
def checkpoint(baseline, tmp_path):
    trainer = baseline(JtT(copies=1), save_strategy="epoch", num_train_epochs=1)
    trainer.train()
    (folder,) = Path(trainer.args.output_dir).glob("checkpoint-*")
    kept = tmp_path / "kept" / folder.name
    shutil.copytree(folder, kept)
    return kept


def test_a_checkpoint_of_another_run_is_refused(baseline, checkpoint):
    with pytest.raises(ValueError, match=r"is the state of JtT, and the trainer's method is ERM"):
        baseline(ERM(), num_train_epochs=2).train(resume_from_checkpoint=str(checkpoint))
    with pytest.raises(ValueError, match="of a training set of 24 rows, and this one has 16"):
        baseline(JtT(), trainer={"train_dataset": place_rows(16)}).train(resume_from_checkpoint=str(checkpoint))


def test_a_state_that_is_missing_or_cut_short_is_refused(baseline, checkpoint):
    file = checkpoint / STATE_FILE
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged or cut off"):
        baseline(JtT()).train(resume_from_checkpoint=str(checkpoint))
    file.unlink()
    with pytest.raises(ValueError, match=f"holds no {STATE_FILE}"):
        baseline(JtT()).train(resume_from_checkpoint=str(checkpoint))


def test_a_second_training_begins_anew(baseline):
    trainer = baseline(GroupDRO(step_size=1.0))
    trainer.train()
    first = trainer._run
    trainer.train()
    assert trainer._run is not first


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_changes_the_loss_little(baseline, name):
    """Similarities, averages and tables stay in float32; the first losses differ by the rounding of the logits."""
    losses = []
    for bf16 in (False, True):
        trainer = baseline(METHODS[name], max_steps=1, bf16=bf16)
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
