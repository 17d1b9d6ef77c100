"""Batches of a user's own collate function: labels, importance and columns in any of the forms that people make."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_evaluated_labels import ENERGY, FAMILY, NoLabels
from torch import nn
from transformers import BatchFeature

from hf_guidance import Grounding, Guidance, GuidanceArguments, GuidedTrainer, Term
from hf_guidance.attributions import InputXGradient
from hf_guidance.forward import ExplainedRows
from hf_guidance.objectives import L1, TaskLoss
from hf_guidance.training.plain_batch import plain_batch
from hf_guidance.training.task_labels import refuse_multi_hot, refuse_regression

CLASSES = [0, 1, 2, 0]


def columns(count=4):
    generator = torch.Generator().manual_seed(1)
    importance = torch.zeros(count, 8, 8)
    importance[:, :, :4] = 1
    return {"pixel_values": torch.randn(count, 3, 8, 8, generator=generator), "labels": torch.tensor(CLASSES),
            "target": torch.tensor(CLASSES), "importance": importance}  # fmt: skip


def trainer_of(folder, batch, cls=GuidedTrainer, guidance=ENERGY, model=None, **options):
    """A trainer whose every batch is the given one."""
    args = GuidanceArguments(
        str(folder), per_device_eval_batch_size=4, per_device_train_batch_size=4, report_to="none", use_cpu=True,
        disable_tqdm=True, dataloader_pin_memory=False, max_steps=1, save_strategy="no", logging_steps=1,
    )  # fmt: skip
    return cls(
        model or NoLabels(), args, train_dataset=[{}] * 4, eval_dataset=[{}] * 4, data_collator=lambda rows: dict(batch),
        guidance=guidance, family=FAMILY, **options,
    )  # fmt: skip


def figures(folder, batch, **options):
    """Losses of a training step, and those of an evaluation after it."""
    trainer = trainer_of(folder, batch, **options)
    trainer.train()
    found = trainer.state.log_history[0] | trainer.evaluate()
    return {name: value for name, value in found.items() if "loss" in name or "epg" in name}


@pytest.mark.parametrize(
    "change",
    [
        {"labels": CLASSES}, {"labels": tuple(CLASSES)}, {"labels": np.array(CLASSES)},
        {"labels": torch.tensor(CLASSES)[:, None]},
        {"labels": torch.tensor(CLASSES, dtype=torch.int32)}, {"importance": columns()["importance"].numpy()},
        {"target": np.array(CLASSES)}, {"annotated": torch.ones(4).bool()}, {"annotated": np.ones(4, bool)},
    ],
    ids=lambda change: "-".join(f"{name} {type(value).__name__}" for name, value in change.items()),
)  # fmt: skip
def test_the_form_of_a_column_changes_nothing(change, tmp_path):
    assert figures(tmp_path, columns() | change) == pytest.approx(figures(tmp_path, columns()), rel=1e-6)


@pytest.mark.parametrize("first", [torch.tensor(3.0), torch.zeros(2), 5, "text", {"size": (8, 8)}, [1]])
def test_what_comes_first_in_a_batch_is_not_counted(first, tmp_path):
    assert figures(tmp_path, {"first": first} | columns()) == pytest.approx(figures(tmp_path, columns()), rel=1e-6)


def test_a_batch_of_an_image_processor(tmp_path):
    assert figures(tmp_path, BatchFeature(columns())) == pytest.approx(figures(tmp_path, columns()), rel=1e-6)


class Weighted(GuidedTrainer):
    """Reads a column of its own, one number per image."""

    def task_loss(self, forward):
        own = forward.column("own")
        own = own["inner"] if isinstance(own, dict) else own
        assert len(own) == forward.images
        return super().task_loss(forward) * torch.as_tensor(own, dtype=torch.float32)


NUMBERS = [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "own",
    [
        NUMBERS,
        tuple(map(torch.tensor, NUMBERS)),
        np.array(NUMBERS),
        torch.tensor(NUMBERS),
        {"inner": torch.tensor(NUMBERS)},
        {"inner": NUMBERS},
        {"inner": np.array(NUMBERS), "size": (8, 8)},
    ],
    ids=["list", "tuple", "array", "tensor", "dict", "dict of a list", "dict of an array"],
)
def test_columns_are_cut_with_the_images(own, tmp_path):
    """Annotated images and others run apart, so each column must follow its images, in whatever it is held."""
    batch = columns() | {"annotated": [False, True, False, True], "own": own}
    found = figures(tmp_path, batch, cls=Weighted)
    losses = F.cross_entropy(NoLabels().logits(batch["pixel_values"]), batch["labels"], reduction="none")
    assert found["loss/task"] == pytest.approx((losses * torch.tensor(NUMBERS)).mean().item(), rel=1e-5)


@pytest.mark.parametrize("own", [list("abcd"), tuple("abcd"), np.array(list("abcd")), np.array(list("abcd"), object)])
def test_text_is_cut_with_the_images(own):
    cut = ExplainedRows().take_images(columns() | {"own": own}, [1, 3])["own"]
    assert type(cut) is type(own)
    assert list(cut) == ["b", "d"]


@pytest.mark.parametrize("own", [[1.0, 2.0], torch.ones(6)])
def test_a_column_of_another_length_is_not_cut_but_refused(own):
    with pytest.raises(
        ValueError, match=rf"column 'own' has {len(own)} entries, and 4 were expected: .*explained_row_columns"
    ):
        ExplainedRows().take_images(columns() | {"own": own}, [1, 3])


@pytest.mark.parametrize("own", [[1.0, 2.0], (True, False), np.ones(3), torch.ones(6)])
def test_columns_of_explained_rows_have_one_entry_for_each(own):
    with pytest.raises(ValueError, match=rf"column 'own' has {len(own)} entries, and 4 were expected"):
        ExplainedRows(["own"]).annotated_only(columns() | {"annotated": [False, True, True, False], "own": own})


@pytest.mark.parametrize(
    "value",
    [
        None, 3.0, "text", torch.tensor(1.0), np.float32(2.0), np.array(2.0), (8, 8), (8, 6, 3, 1), (), ("a", "b"),
        np.ones(3),
    ],
)  # fmt: skip
def test_what_belongs_to_the_whole_batch_is_kept(value):
    assert ExplainedRows().take_images(columns() | {"own": value}, [1, 3])["own"] is value


@pytest.mark.parametrize("value", [(8, 6, 3, 1), (8, 8), [8, 8], np.ones(3), torch.ones(3), "text", {"size": [8, 8]}])
def test_a_mapping_may_hold_both(value):
    own = {"size": value, "of_image": torch.arange(4)}
    cut = ExplainedRows().take_images(columns() | {"own": own}, [1, 3])["own"]
    assert cut["of_image"].tolist() == [1, 3]
    assert cut["size"] == value if isinstance(value, dict) else cut["size"] is value


class Reading(GuidedTrainer):
    def task_loss(self, forward):
        own = forward.column("own")
        assert type(own) is type(self.own)
        assert list(own) == list(self.own)
        return super().task_loss(forward)


@pytest.mark.parametrize("own", [(8, 8), np.ones(3), ("a", "b", "c")])
def test_a_step_reads_what_belongs_to_the_whole_batch(own, tmp_path, monkeypatch):
    monkeypatch.setattr(Reading, "own", own, raising=False)
    batch = columns() | {"annotated": [True, False] * 2}
    found = figures(tmp_path, batch | {"own": own, "meta": {"size": (8, 8)}}, cls=Reading)
    assert found == pytest.approx(figures(tmp_path, batch))


@pytest.mark.parametrize("annotated", [[True] * 4, [True, False] * 2])
@pytest.mark.parametrize("run", ["train", "evaluate"])
def test_a_batch_without_the_images_is_refused(annotated, run, tmp_path):
    batch = {("images" if name == "pixel_values" else name): value for name, value in columns().items()}
    for given in (batch, batch | {"annotated": annotated}):
        with pytest.raises(ValueError, match=r"no column 'pixel_values'.*'images'"):
            getattr(trainer_of(tmp_path, given), run)()


@pytest.mark.parametrize(
    "labels",
    [
        [{"c": torch.tensor(1)}] * 4, list("abcd"), [[0], [1, 2], [0], [1]], [torch.zeros(3).bfloat16()] * 4,
        [torch.zeros(1, requires_grad=True)] * 4, [None] * 4, tuple("abcd"),
        (torch.zeros(4), torch.ones(4)),
    ],
)  # fmt: skip
def test_labels_that_are_no_numbers_stay_what_they_are(labels):
    assert plain_batch({"labels": labels}, ["labels"], ExplainedRows())["labels"] is labels


def test_arrays_of_negative_strides_become_tensors():
    mirrored = columns()["pixel_values"].numpy()[..., ::-1]
    found = plain_batch({"pixel_values": mirrored}, ["labels"], ExplainedRows())["pixel_values"]
    assert torch.equal(found, columns()["pixel_values"].flip(-1))


@pytest.mark.parametrize("labels", [[[0], [1, 2], [0], [1]], list("abcd"), [torch.zeros(3).bfloat16()] * 4])
@pytest.mark.parametrize("problem", ["single_label_classification", None])
def test_labels_that_are_no_numbers_are_named(labels, problem, tmp_path):
    with pytest.raises(ValueError, match=r"labels are a list that is no tensor: .*give numbers"):
        figures(tmp_path, columns() | {"labels": labels}, model=WithConfig(problem))


class WithConfig(NoLabels):
    def __init__(self, problem_type=None, num_labels=3):
        super().__init__()
        self.config = type("Config", (), {"problem_type": problem_type, "num_labels": num_labels})()
        self.head = nn.Linear(4, num_labels)


class Squared(GuidedTrainer):
    def task_loss(self, forward):
        return F.mse_loss(forward.logits(), forward.column("labels"), reduction="none").mean(1)


@pytest.mark.parametrize(("problem", "classes"), [("regression", 3), ("regression", 1), (None, 1)])
def test_regression_is_refused_when_the_trainer_is_made(problem, classes, tmp_path):
    values = columns() | {"labels": 7 * torch.ones(4, classes), "target": torch.zeros(4, dtype=torch.long)}
    for guidance in (Guidance(), ENERGY, Guidance(task=TaskLoss(0.1))):
        with pytest.raises(ValueError, match=rf"num_labels {classes}, which is regression.*override task_loss"):
            trainer_of(tmp_path, values, guidance=guidance, model=WithConfig(problem, classes))
    found = figures(tmp_path, values, cls=Squared, model=WithConfig(problem, classes))
    assert found["loss/task"] > 10
    refuse_regression(TaskLoss(), WithConfig("multi_label_classification", 1))


@pytest.mark.parametrize("labels", [torch.eye(3), torch.eye(3).long(), torch.ones(3), np.eye(3), np.ones(3)])
def test_one_label_per_image_is_not_taken_for_multi_hot(labels):
    with pytest.raises(
        ValueError, match=r"takes for multi-hot labels, but the model's .*'single_label_classification'"
    ):
        refuse_multi_hot(TaskLoss(), WithConfig("single_label_classification"), labels)
    refuse_multi_hot(TaskLoss(), WithConfig("multi_label_classification"), labels)
    refuse_multi_hot(TaskLoss(), WithConfig("single_label_classification"), torch.ones(3, 1).long())


@pytest.mark.parametrize("guidance", [Guidance(), ENERGY, Guidance(l1=Term(L1(InputXGradient("input"))))])
@pytest.mark.parametrize("measured", [False, True])
def test_model_init(guidance, measured, tmp_path):
    options = {"grounding": Grounding(InputXGradient("input"))} if measured else {}
    args = GuidanceArguments(str(tmp_path), report_to="none", use_cpu=True)
    trainer = GuidedTrainer(
        args=args, model_init=NoLabels, eval_dataset=[{}] * 4, data_collator=lambda rows: columns(), guidance=guidance,
        family=FAMILY, **options,
    )  # fmt: skip
    assert ("eval_epg" in trainer.evaluate()) == (measured or bool(guidance.guided))


def test_labels_of_another_name_are_said_in_evaluate_only(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("hf_guidance.training.evaluating_trainer.logger.warning_once", said.append)
    other = {("label" if name == "labels" else name): value for name, value in columns().items()}
    trainer = trainer_of(tmp_path, other)
    trainer.predict([{}] * 4)
    assert said == []
    trainer.evaluate()
    assert len(said) == 1
    assert "has the labels ['labels']" in said[0]
    assert "'importance', 'label', 'pixel_values'" in said[0]
    trainer_of(tmp_path, {"pixel_values": columns()["pixel_values"]}).evaluate()
    trainer_of(tmp_path, columns()).evaluate()
    assert len(said) == 1


@pytest.mark.parametrize("metrics", [None, lambda prediction: {"mine": 4.0, "other": 2.0}])
def test_the_default_of_a_search_is_that_of_trainer(metrics, tmp_path, monkeypatch):
    found = {}
    monkeypatch.setattr(
        "transformers.Trainer.hyperparameter_search",
        lambda self, hp_space=None, compute_objective=None, *args, **kwargs: found.update(by=compute_objective),
    )
    trainer = trainer_of(tmp_path, columns(), compute_metrics=metrics)
    trainer.train()
    measured = trainer.evaluate()
    trainer.hyperparameter_search()
    assert found["by"](measured) == pytest.approx(6.0 if metrics else measured["eval_loss"])
    trainer.hyperparameter_search(compute_objective=lambda measured: ["mine"])
    assert found["by"](measured) == ["mine"]
