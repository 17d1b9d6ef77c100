"""guidance.json and checkpoints written before the modules moved into rooms load, and evaluate to the numbers of then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import datasets
import pytest
from data_of_before import image_rows, question_rows
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForVisualQuestionAnswering,
    AutoTokenizer,
)

from hf_guidance import AnswerVocabulary, Guidance, GuidanceArguments, GuidedTrainer, QuestionCollator

HERE = Path(__file__).parent
GUIDANCES = json.loads((HERE / "guidances.json").read_text())
NUMBERS = json.loads((HERE / "numbers.json").read_text())


@pytest.mark.parametrize("name", GUIDANCES)
def test_every_guidance_is_read_and_written_as_it_was(name):
    assert Guidance.from_dict(GUIDANCES[name]).to_dict() == GUIDANCES[name]


def parts(kind):
    """Model, rows and what else a trainer takes, of a checkpoint."""
    folder = HERE / kind
    if kind != "updn":
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        rows = datasets.Dataset.from_list(image_rows())
        return AutoModelForImageClassification.from_pretrained(folder), rows, {"processing_class": processor}
    collator = QuestionCollator(AutoTokenizer.from_pretrained(folder), AnswerVocabulary.load(folder / "answers.json"))
    return AutoModelForVisualQuestionAnswering.from_pretrained(folder), question_rows(), {"data_collator": collator}


@pytest.mark.parametrize("kind", NUMBERS)
def test_every_checkpoint_evaluates_to_the_same_numbers(kind, tmp_path):
    model, rows, others = parts(kind)
    args = GuidanceArguments(
        str(tmp_path), per_device_eval_batch_size=8, report_to="none", use_cpu=True, disable_tqdm=True
    )
    guidance = Guidance.load(HERE / kind)
    trainer = GuidedTrainer(model, args, train_dataset=rows, eval_dataset=rows, guidance=guidance, **others)
    found = trainer.evaluate()
    assert {name: found[name] for name in NUMBERS[kind]} == pytest.approx(NUMBERS[kind], rel=1e-4, abs=1e-6)


def test_a_run_of_then_goes_on(tmp_path):
    """Weights, optimizer, draws and schedule of an earlier checkpoint: the rest of the run is what it was then."""
    checkpoint = shutil.copytree(HERE / "run" / "checkpoint-2", tmp_path / "checkpoint-2")
    args = GuidanceArguments(
        str(tmp_path), per_device_train_batch_size=8, num_train_epochs=2, learning_rate=1e-2, report_to="none",
        save_strategy="no", logging_steps=1, use_cpu=True, disable_tqdm=True, seed=1, dataloader_pin_memory=False,
    )  # fmt: skip
    model = AutoModelForImageClassification.from_pretrained(checkpoint)
    processor = AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
    rows, guidance = datasets.Dataset.from_list(image_rows()), Guidance.load(checkpoint)
    trainer = GuidedTrainer(model, args, train_dataset=rows, processing_class=processor, guidance=guidance)
    trainer.train(resume_from_checkpoint=str(checkpoint))
    rest = [entry for entry in trainer.state.log_history if entry.get("step", 0) > 2 and "loss/energy" in entry]
    expected = json.loads((checkpoint / "rest.json").read_text())
    assert len(rest) == len(expected) == 2
    for found, then in zip(rest, expected, strict=True):
        assert {name: found[name] for name in then} == pytest.approx(then, rel=1e-4)
