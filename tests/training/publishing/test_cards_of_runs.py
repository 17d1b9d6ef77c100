"""What a card tells of evaluations: of this run, of its best model, and of an unguided run beside it."""

from __future__ import annotations

import pytest
from cards_read import card_of

from hf_guidance import Grounding, Guidance, Term
from hf_guidance.attributions import GradCAM
from hf_guidance.objectives import Energy
from hf_guidance.training import CardOptions

GUIDANCE = Guidance(energy=Term(Energy(GradCAM()), 0.5, "rows"))


def test_a_wrong_unguided_run_is_refused_and_kept_out(trainer_of, model_of, tmp_path):
    trainer = trainer_of(model_of(), GUIDANCE)
    with pytest.raises(ValueError, match="output_dir of a run that evaluated"):
        trainer.create_model_card(unguided=str(tmp_path / "nowhere"))
    assert trainer.card.unguided is None
    trainer.create_model_card()
    assert (tmp_path / "out" / "README.md").is_file()


def test_an_earlier_run_stands_beside(trainer_of, model_of, tmp_path):
    settings = {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2}
    plain = trainer_of(
        model_of(),
        Guidance(),
        trainer={"grounding": Grounding(GradCAM())},
        output_dir=str(tmp_path / "plain"),
        **settings,
    )
    plain.train()
    told = plain.state.log_history[-2]["eval_epg"]
    trainer = trainer_of(model_of(), GUIDANCE, **settings)
    trainer.card = CardOptions(unguided=tmp_path / "plain")
    trainer.train()
    text = card_of(tmp_path / "out" / "checkpoint-2").text
    assert "| metric | without guidance | this model |" in text
    assert f"| `epg` ↑ | {told:.4g} |" in text


def test_the_best_model_is_told_by_the_evaluation_of_its_step(trainer_of, model_of, tmp_path):
    trainer = trainer_of(
        model_of(), GUIDANCE, max_steps=3, eval_strategy="steps", eval_steps=1, save_strategy="steps", save_steps=1,
        load_best_model_at_end=True, metric_for_best_model="eval_epg", greater_is_better=True, learning_rate=1.0,
    )  # fmt: skip
    trainer.train()
    best = trainer.state.best_global_step
    entry = next(entry for entry in trainer.state.log_history if entry["step"] == best and "eval_epg" in entry)
    trainer.save_model()
    card = card_of(tmp_path / "out")
    (epg,) = (result.metric_value for result in card.data.eval_results if result.metric_type == "epg")
    assert epg == pytest.approx(entry["eval_epg"], abs=1e-6)


def test_what_was_measured_of_an_earlier_model_is_told_as_that(trainer_of, model_of, tmp_path):
    settings = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 3}
    trainer_of(model_of(), GUIDANCE, max_steps=4, **settings).train()
    card = card_of(tmp_path / "out" / "checkpoint-3")
    assert card.data.eval_results is None
    assert "at step 2 of 3. The model has been trained since." in card.text
