"""Facts of a run in trainer_state.json: written by checkpoints and save_state, and no trouble on resume."""

from __future__ import annotations

import json

import pytest
from transformers import default_data_collator

from hf_guidance import Guidance, GuidanceCollator, Term, with_annotated_fraction
from hf_guidance.apps.report import Run
from hf_guidance.attributions import GradCAM
from hf_guidance.data.annotated import annotated_flags
from hf_guidance.data.explained_rows_collator import ExplainedRowsCollator
from hf_guidance.objectives import Energy
from hf_guidance.training.publishing import annotations
from hf_guidance.training.run_facts import facts_of

GUIDANCE = Guidance(energy=Term(Energy(GradCAM()), weight=0.5))


def test_a_report_reads_them(trainer_of, model_of, digits, processor, tmp_path):
    collator = GuidanceCollator(processor, num_labels=2, source="boxes", control_seed=7)
    rows = with_annotated_fraction(digits["train"], 0.25, seed=0)
    trainer = trainer_of(
        model_of(),
        GUIDANCE,
        trainer={"data_collator": collator},
        rows=rows,
        output_dir=str(tmp_path),
        max_steps=2,
        seed=3,
    )
    trainer.train()
    trainer.save_state()
    run = Run.read(tmp_path)
    assert (run.kind, run.seed, run.rows, run.share, run.control) == ("control", 3, 48, 0.25, True)
    assert run.guidance == GUIDANCE.to_dict()
    assert run.settings == {
        "model": "ResNetForImageClassification", "learning_rate": 1e-3, "max_steps": 2, "batch_size": 8,
    }  # fmt: skip
    assert run.identity["source"] == "boxes"


@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("old", [False, True])
def test_resuming_with_and_without_them(trainer_of, model_of, tmp_path, restore, old):
    saving = {"output_dir": str(tmp_path), "save_strategy": "steps", "save_steps": 1}
    trainer_of(model_of(), GUIDANCE, max_steps=1, **saving).train()
    file = tmp_path / "checkpoint-1" / "trainer_state.json"
    state = json.loads(file.read_text())
    assert state["stateful_callbacks"]["RunFacts"]["attributes"]["facts"]["max_steps"] == 1
    if old:  # of a version that wrote none
        del state["stateful_callbacks"]["RunFacts"]
        file.write_text(json.dumps(state))
    again = trainer_of(
        model_of(), GUIDANCE, max_steps=2, restore_callback_states_from_checkpoint=restore and not old, **saving
    )
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    facts = Run.read(tmp_path).settings
    assert facts["max_steps"] == (1 if restore and not old else 2)  # restored callbacks keep what they knew


def test_card_and_report_have_the_same_facts(trainer_of, model_of, digits, processor, tmp_path, monkeypatch):
    counts = []
    monkeypatch.setattr(annotations, "annotated_flags", lambda *given: counts.append(1) or annotated_flags(*given))
    collator = ExplainedRowsCollator(
        default_data_collator, GuidanceCollator(processor, num_labels=2, source="boxes", control_seed=7)
    )
    rows = with_annotated_fraction(digits["train"], 0.25, seed=0)
    trainer = trainer_of(model_of(), GUIDANCE, trainer={"data_collator": collator}, rows=rows)
    told, noted = trainer.annotation_facts(), facts_of(trainer)
    trainer.annotation_facts()
    assert counts == [1]
    assert (noted["rows"], noted["annotated_share"]) == (told.rows.rows, told.share) == (48, 0.25)
    assert (noted["source"], noted["control_seed"]) == (told.source, 7) == ("boxes", 7)
    assert told.control
