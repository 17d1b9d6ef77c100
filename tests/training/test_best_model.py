"""The best checkpoint is kept, whichever way its metric is better."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import TrainingArguments

from hf_guidance import Grounding, Guidance, GuidanceArguments, GuidedTrainer, ParetoCheckpoints, Term
from hf_guidance.attributions import GradCAM
from hf_guidance.objectives import Energy
from hf_guidance.training import best_model
from hf_guidance.training.best_model import higher_is_better, settle_direction, surely_lower

GUIDANCE = Guidance(energy=Term(Energy(GradCAM()), 1.0, "rows"))
HIGHER = ["eval_epg", "epg", "eval_attribution_iou", "eval_pointing_game", "eval_plausibility", "eval_on_object_epg",
          "eval_vqa_accuracy", "eval_worst_group_accuracy", "eval_mean_group_accuracy", "eval_accuracy", "eval_f1", "eval_map",
          "eval_rrr_suff", "eval_rrr_inv", "eval_comprehensiveness"]  # fmt: skip
LOWER = ["eval_loss", "loss", "eval_loss/energy", "loss/task", "eval_loss/my_loss", "eval_undefined_share/energy",
         "eval_epg_undefined_share", "eval_rrr_unc", "eval_sufficiency"]  # fmt: skip
DIRECTIONS = [(name, True) for name in HIGHER] + [(name, False) for name in LOWER]


def arguments(kind, folder, **settings):
    return kind(
        str(folder), report_to="none", use_cpu=True, eval_strategy="steps", eval_steps=1, save_steps=1, **settings
    )


@pytest.mark.parametrize("kind", [TrainingArguments, GuidanceArguments])
@pytest.mark.parametrize(("name", "higher"), DIRECTIONS)
def test_every_metric_has_its_direction(kind, name, higher, tmp_path):
    args = arguments(kind, tmp_path, metric_for_best_model=name, load_best_model_at_end=True)
    settle_direction(args)
    assert args.greater_is_better is higher
    same = arguments(kind, tmp_path, metric_for_best_model=name, greater_is_better=higher)
    settle_direction(same)
    assert same.greater_is_better is higher


@pytest.mark.parametrize(("name", "higher"), DIRECTIONS)
def test_a_contradiction_is_refused_by_name(name, higher, tmp_path):
    with pytest.raises(ValueError, match=rf"greater_is_better={not higher} with metric_for_best_model='{name}'"):
        arguments(GuidanceArguments, tmp_path, metric_for_best_model=name, greater_is_better=not higher)


def test_a_contradiction_in_plain_arguments_is_refused_or_said(tmp_path, monkeypatch):
    wrong = arguments(TrainingArguments, tmp_path, metric_for_best_model="epg", greater_is_better=False)
    with pytest.raises(ValueError, match="would keep the worst model"):
        settle_direction(wrong)
    said = []
    monkeypatch.setattr(best_model.logger, "warning", said.append)
    perhaps = arguments(TrainingArguments, tmp_path, metric_for_best_model="eval_loss/x", greater_is_better=True)
    settle_direction(perhaps)
    assert perhaps.greater_is_better is False
    assert "greater_is_better is set to False, since 'eval_loss/x'" in said[0]


def test_metrics_of_others_are_left_alone(tmp_path):
    for name in ("eval_mine", "eval_precision", "eval_recall", "loss_of_mine"):
        for given in (True, False):
            args = arguments(GuidanceArguments, tmp_path, metric_for_best_model=name, greater_is_better=given)
            settle_direction(args)
            assert args.greater_is_better is given


def test_names_of_evaluation_sets_are_seen_through():
    assert higher_is_better("eval_birds_epg", ["birds", "other"]) is True
    assert higher_is_better("eval_birds_loss/energy", ["birds"]) is False
    assert higher_is_better("eval_birds_epg") is None
    assert higher_is_better("eval_birds_loss/energy") is False  # nothing else has such a name


@pytest.mark.parametrize("name", ["loss/energy", "birds_loss/energy", "eval_birds_undefined_share/energy"])
@pytest.mark.parametrize("kind", [TrainingArguments, GuidanceArguments])
def test_a_loss_of_a_term_is_lower_whatever_stands_before_it(kind, name, tmp_path):
    args = arguments(kind, tmp_path, metric_for_best_model=name, load_best_model_at_end=True)
    settle_direction(args)
    assert args.greater_is_better is False


@pytest.mark.parametrize(
    ("name", "lower"),
    [("eval_loss/energy", True), ("loss/energy", True), ("eval_birds_loss/energy", True), ("eval_birds_loss", True),
     ("eval_birds_rrr_unc", True), ("eval_birds_epg_undefined_share", True), ("eval_birds_epg", False), ("eval_mine", False),
     ("eval_epg", False)],
)  # fmt: skip
def test_what_no_front_may_hold(name, lower):
    assert surely_lower(name) is lower
    if lower:
        with pytest.raises(ValueError, match=f"'{name}'.* are better when lower, but a front keeps what is larger"):
            ParetoCheckpoints(("eval_epg", name))
    else:
        assert ParetoCheckpoints((name,)).metrics == (name,)


class Scripted(GuidedTrainer):
    """Evaluations that give the numbers of a script."""

    script: list[float]

    def evaluate(self, *args, **kwargs):
        name = self.args.metric_for_best_model
        metrics = {f"eval_{name.removeprefix('eval_')}": self.script[self.state.global_step - 1]}
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


@pytest.mark.parametrize("kind", [TrainingArguments, GuidanceArguments])
@pytest.mark.parametrize(
    ("name", "script", "best"),
    [
        ("eval_epg", [0.1, 0.9, 0.5], 2),
        ("eval_loss/energy", [0.5, 0.1, 0.9], 2),
        ("loss/energy", [0.5, 0.1, 0.9], 2),
        ("eval_undefined_share/energy", [0.5, 0.7, 0.1], 3),
        ("eval_worst_group_accuracy", [0.6, 0.2, 0.4], 1),
    ],
)
def test_the_best_checkpoint_is_kept(kind, name, script, best, model_of, digits, processor, tmp_path):
    args = arguments(
        kind, tmp_path, metric_for_best_model=name, load_best_model_at_end=True, max_steps=3, save_total_limit=1,
        per_device_train_batch_size=4, disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Scripted(
        model_of(), args, train_dataset=digits["train"], eval_dataset=digits["test"], processing_class=processor,
        guidance=GUIDANCE, grounding=Grounding(GradCAM()),
    )  # fmt: skip
    trainer.script = script
    trainer.train()
    assert trainer.state.best_global_step == best
    assert Path(trainer.state.best_model_checkpoint).name == f"checkpoint-{best}"


def test_no_best_model_is_said(trainer_of, model_of, monkeypatch):
    said = []
    monkeypatch.setattr(best_model.logger, "warning", said.append)
    trainer = trainer_of(
        model_of(), Guidance(), eval_strategy="steps", save_strategy="steps", eval_steps=3, save_steps=3,
        metric_for_best_model="mine", load_best_model_at_end=True,
        trainer={"compute_metrics": lambda _: {"mine": float("nan")}},
    )  # fmt: skip
    trainer.train()
    assert any("no evaluation gave 'mine' as a number" in text for text in said)
