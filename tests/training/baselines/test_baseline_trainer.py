"""What a training with a compared method does, against plain Trainer, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
import torch
from placed_rows import place_rows, small_model, weights_of
from rows_as_read import RowsAsRead
from transformers import Trainer

from hf_guidance import Guidance, GuidedTrainer
from hf_guidance.training.baselines import DFR, ERM, GroupDRO, JtT, Method
from hf_guidance.training.baselines.jtt import upweighted
from hf_guidance.training.baselines.rows import WeightedSampler


def test_erm_is_what_trainer_trains(baseline, placed):
    trainer = baseline(ERM(), num_train_epochs=2)
    trainer.train()
    plain_model = small_model()

    def collate(rows):
        pixels = torch.tensor([row["pixel_values"] for row in rows])
        return {"pixel_values": pixels, "labels": torch.tensor([row["label"] for row in rows])}

    trainer.args.remove_unused_columns = False
    Trainer(plain_model, trainer.args, train_dataset=placed, data_collator=collate).train()
    assert torch.equal(weights_of(trainer.model), weights_of(plain_model))
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logs) == 6
    assert all(entry["loss"] == pytest.approx(entry["loss/task"]) for entry in logs)


def test_rows_of_torch_give_the_same_training(baseline, placed):
    first, second = baseline(GroupDRO()), baseline(GroupDRO(), trainer={"train_dataset": RowsAsRead(placed)})
    first.train()
    second.train()
    assert torch.equal(weights_of(first.model), weights_of(second.model))


def test_evaluation_is_the_cross_entropy_and_a_saved_model_names_the_method(baseline, tmp_path):
    trainer = baseline(JtT(copies=3))
    measured = trainer.evaluate()
    with torch.no_grad():
        rows = place_rows().with_format("torch")[:]
        logits = trainer.model.eval()(rows["pixel_values"]).logits
    wanted = torch.nn.functional.cross_entropy(logits, rows["label"]).item()
    assert measured["eval_loss"] == pytest.approx(wanted, rel=1e-5)
    trainer.save_model(str(tmp_path / "saved"))
    read = Guidance.load(tmp_path / "saved")
    assert read["task"].objective.trainer == "BaselineTrainer(method=JtT(copies=3))"
    assert "JtT(copies=3)" in (tmp_path / "saved" / "README.md").read_text()
    with pytest.raises(ValueError, match=r"JtT\(copies=3\)"):
        GuidedTrainer(small_model(), trainer.args, train_dataset=place_rows(), guidance=read)


def test_jtt_draws_the_rows_that_the_first_model_gets_wrong_more_often(baseline, placed):
    model = small_model()
    trainer = baseline(JtT(copies=3), model)
    with torch.no_grad():
        wrong = model.eval()(torch.tensor(placed["pixel_values"])).logits.argmax(1) != torch.tensor(placed["label"])
    order = trainer._begun().order
    counts = torch.bincount(order, minlength=len(placed))
    assert 0 < wrong.sum() < len(placed)
    assert torch.equal(counts, torch.where(wrong, 4, 1))
    assert trainer.train().global_step == -(-len(order) // 8)
    assert upweighted(torch.tensor([1, 4]), 5, 2).tolist() == [0, 1, 2, 3, 4, 1, 4, 1, 4]
    other = baseline(JtT(copies=3, identifier=small_model(5)), small_model())
    assert not torch.equal(other._begun().order, order)


def test_finding_the_error_set_moves_neither_weights_nor_generators(baseline):
    trainer = baseline(JtT())
    before, drawn = weights_of(trainer.model), torch.get_rng_state()
    trainer.get_train_dataloader()
    assert torch.equal(weights_of(trainer.model), before)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert trainer.model.training


def test_an_empty_error_set_is_refused(baseline, placed):
    model = small_model()
    with torch.no_grad():
        labels = model.eval()(torch.tensor(placed["pixel_values"])).logits.argmax(1).tolist()
    right = placed.remove_columns("label").add_column("label", labels)
    with pytest.raises(ValueError, match="all 24 training rows right, so that the error set is empty"):
        baseline(JtT(), model, {"train_dataset": right}).train()


def test_group_dro_favours_the_worst_group(baseline):
    trainer = baseline(GroupDRO(step_size=1.0, adjustment=0.5), num_train_epochs=2)
    trainer.train()
    weights = trainer._run.state()["group_weights"]
    assert weights.sum().item() == pytest.approx(1, rel=1e-5)
    assert weights.std() > 0.01
    drawn = trainer._get_train_sampler()
    assert len(drawn) == 24
    again = WeightedSampler(torch.ones(24), 0)
    first = list(again)
    assert first == list(again)
    again.set_epoch(1)
    assert first != list(again)


@pytest.mark.parametrize("column", ["none", "text", "negative", "gap", "missing"])
def test_groups_that_cannot_be_used_are_named(baseline, placed, column):
    rows = placed.remove_columns("group")
    given = {
        "text": ["land"] * 24, "negative": [-1] + [0] * 23, "gap": [0, 2] * 12, "missing": [None] + [0] * 23,
    }  # fmt: skip
    told = {
        "none": "has no column 'group'.*its columns are .*'label'.*2 \\* label \\+ place", "text": "holds 'land'",
        "negative": "holds -1", "gap": r"the groups \[1\] have no row", "missing": "not in every row",
    }  # fmt: skip
    rows = rows.add_column("group", given[column]) if column in given else rows
    with pytest.raises(ValueError, match=told[column]):
        baseline(GroupDRO(), trainer={"train_dataset": rows}).train()


def test_what_no_method_trains_with_is_refused(baseline, placed):
    with pytest.raises(ValueError, match="is no method; give one of"):
        baseline("JtT")
    with pytest.raises(ValueError, match="is no method"):
        baseline(Method())
    with pytest.raises(ValueError, match="guidance= beside method=ERM"):
        baseline(ERM(), trainer={"guidance": Guidance()})
    with pytest.raises(ValueError, match=r"for one class per image.*'multi_label_classification'"):
        baseline(ERM(), small_model(problem_type="multi_label_classification"))
    with pytest.raises(ValueError, match="streaming training set"):
        baseline(ERM(), trainer={"train_dataset": placed.to_iterable_dataset()}, max_steps=1)
    multi_hot = datasets.Dataset.from_dict({"pixel_values": placed["pixel_values"], "labels": [[0, 1]] * 24})
    with pytest.raises(ValueError, match="label"):
        baseline(ERM(), trainer={"train_dataset": multi_hot}).train()
    for wrong in (lambda: JtT(0), lambda: GroupDRO(0.0), lambda: GroupDRO(adjustment=-1.0), lambda: DFR(())):
        with pytest.raises(ValueError, match="give"):
            wrong()


def test_logs_of_a_run_are_json(baseline):
    trainer = baseline(GroupDRO())
    trainer.train()
    entry = json.loads(json.dumps(trainer.state.log_history[0]))
    assert {"loss", "loss/task", "loss/largest_group_weight"} <= entry.keys()
    assert not Path(trainer.args.output_dir, "checkpoint-3").exists()
