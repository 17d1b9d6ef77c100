"""guidance.json and checkpoints written before the modules moved into rooms load, and evaluate to the numbers of then."""

from __future__ import annotations

import json
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
