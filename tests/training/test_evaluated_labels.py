"""evaluate() and predict() measure every model, whatever labels its forward takes, and every batch that has labels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hf_guidance import Family, Guidance, GuidanceArguments, GuidanceCollator, GuidedTrainer
from hf_guidance.attributions import InputXGradient
from hf_guidance.objectives import Energy, Objective, TaskLoss

PROBLEMS = ("single_label_classification", "multi_label_classification")
FAMILY = Family(layers={})
ENERGY = Guidance(energy=Energy(InputXGradient("input")))


class NoLabels(nn.Module):
    """A model as many people write one: no configuration, no labels, no loss."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3)

    def logits(self, pixel_values):
        return self.head(torch.tanh(self.conv(pixel_values)).mean((-2, -1)))

    def forward(self, pixel_values):
        return {"logits": self.logits(pixel_values)}


class OtherLabels(NoLabels):
    def forward(self, pixel_values, class_labels=None, mask_labels=None):
        return {"logits": self.logits(pixel_values), "hidden": pixel_values}


class OwnLabels(NoLabels):
    def forward(self, pixel_values, labels=None):
        assert labels is None, "the trainer computes the loss"
        return {"logits": self.logits(pixel_values)}


def rows_of(problem, count=5):
    generator = torch.Generator().manual_seed(1)
    labels = [[0], [1], [2], [0], [2]] if problem == PROBLEMS[0] else [[0, 1], [], [2], [0, 1, 2], [1]]
    return [
        {
            "pixel_values": torch.randn(3, 8, 8, generator=generator),
            "labels": labels[index],
            "objects": [{"bbox": [0.0, 0.0, 4.0, 8.0], "category": c} for c in labels[index]],
        }
        for index in range(count)
    ]


def trainer_for(model, rows, tmp_path, collator, guidance=ENERGY, **settings):
    args = GuidanceArguments(
        str(tmp_path), per_device_eval_batch_size=2, report_to="none", use_cpu=True, disable_tqdm=True,
        dataloader_pin_memory=False, max_steps=2, save_strategy="no", **settings,
    )  # fmt: skip
    return GuidedTrainer(
        model, args, train_dataset=rows, eval_dataset=rows, data_collator=collator, guidance=guidance, family=FAMILY
    )


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("kind", [NoLabels, OtherLabels, OwnLabels])
def test_loss_and_grounding_are_measured_whatever_labels_the_model_takes(kind, problem, tmp_path):
    rows, model = rows_of(problem), kind()
    trainer = trainer_for(model, rows, tmp_path, GuidanceCollator(None, problem, 3))
    measured = trainer.evaluate()
    batch = trainer.data_collator(rows)
    logits = model.logits(batch["pixel_values"])
    loss = F.cross_entropy if problem == PROBLEMS[0] else F.binary_cross_entropy_with_logits
    assert measured["eval_loss/task"] == pytest.approx(loss(logits, batch["labels"]).item(), rel=1e-5)
    assert measured["eval_loss"] == pytest.approx(measured["eval_loss/task"] + measured["eval_loss/energy"], rel=1e-5)
    assert 0 < measured["eval_epg"] < 1
    predicted = trainer.predict(rows)
    assert {name.replace("test_", "eval_", 1) for name in predicted.metrics} >= set(measured) - {"epoch"}
    torch.testing.assert_close(torch.tensor(predicted.predictions), logits.detach())
    torch.testing.assert_close(torch.tensor(predicted.label_ids), batch["labels"])
    assert trainer.train().global_step == 2


@pytest.mark.parametrize("kind", [NoLabels, OtherLabels, OwnLabels])
@pytest.mark.parametrize("own", [False, True], ids=["GuidanceCollator", "own collator"])
def test_rows_without_labels_are_predicted(kind, own, tmp_path):
    rows = rows_of(PROBLEMS[0])
    bare = [{"pixel_values": row["pixel_values"], "image_id": str(i)} for i, row in enumerate(rows)]

    def collate(rows):  # as people write one: more in the batch than the model takes
        pixels = torch.stack([row["pixel_values"] for row in rows])
        return {"pixel_values": pixels, "image_id": [row["image_id"] for row in rows]}

    trainer = trainer_for(kind(), rows, tmp_path, collate if own else GuidanceCollator(None, num_labels=3))
    predicted = trainer.predict(bare)
    torch.testing.assert_close(
        torch.tensor(predicted.predictions),
        trainer.model.logits(torch.stack([r["pixel_values"] for r in rows])).detach(),
    )
    assert predicted.label_ids is None
    assert "test_loss" not in predicted.metrics


def test_a_set_with_and_without_labels_is_refused(tmp_path):
    rows = rows_of(PROBLEMS[0])
    mixed = [*rows[:2], *({"pixel_values": row["pixel_values"]} for row in rows[2:4])]
    trainer = trainer_for(NoLabels(), rows, tmp_path, GuidanceCollator(None, num_labels=3))
    for batches in (mixed, mixed[::-1]):
        with pytest.raises(ValueError, match="some batches of this set have labels and others have none"):
            trainer.evaluate(batches)
    assert trainer.evaluate()["eval_loss"] > 0


class OwnTask(Objective):
    """A task that reads its labels under the name that the model uses."""

    def needs(self):
        return TaskLoss().needs()

    def rows(self, forward):
        return TaskLoss().rows(forward)

    def __call__(self, forward):
        return F.cross_entropy(forward.logits(), forward.column("class_labels"), reduction="none")


def own_names(rows):
    labels = torch.tensor([row["labels"][0] for row in rows])
    return {"pixel_values": torch.stack([row["pixel_values"] for row in rows]), "class_labels": labels,
            "mask_labels": torch.zeros(len(rows))}  # fmt: skip


def test_labels_under_the_names_of_the_model_are_labels(tmp_path):
    rows = rows_of(PROBLEMS[0])
    for settings in ({}, {"label_names": ["class_labels"]}):
        trainer = trainer_for(OtherLabels(), rows, tmp_path, own_names, Guidance(task=OwnTask()), **settings)
        batch = own_names(rows)
        expected = F.cross_entropy(trainer.model.logits(batch["pixel_values"]), batch["class_labels"]).item()
        assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)
    assert trainer.predict(rows).label_ids.tolist() == batch["class_labels"].tolist()


def test_label_names_are_respected_or_refused(tmp_path):
    rows, collator = rows_of(PROBLEMS[0]), GuidanceCollator(None, num_labels=3)
    trainer = trainer_for(NoLabels(), rows, tmp_path, collator, label_names=["labels", "target"])
    assert [len(part) for part in trainer.predict(rows).label_ids] == [5, 5]
    assert "test_loss" not in trainer_for(NoLabels(), rows, tmp_path, collator, label_names=[]).predict(rows).metrics
    for names in (["classes"], ["labels", "classes"]):
        with pytest.raises(ValueError, match=r"label_names=\[.*'classes'\], and the batch has of these only \["):
            trainer_for(NoLabels(), rows, tmp_path, collator, label_names=names).evaluate()
