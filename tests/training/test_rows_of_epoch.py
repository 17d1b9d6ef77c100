"""Triples that are drawn anew in every epoch: a training that is resumed reads what the whole one reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from hf_guidance import AnswerVocabulary, Guidance, GuidanceArguments, GuidedTrainer, QuestionCollator, dataset_builder
from hf_guidance.data import MixedQuestions, QuestionTriples
from hf_guidance.data.columns import QUESTION_COLUMNS
from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering, word_tokenizer
from hf_guidance.training.rows_of_epoch import RowsOfEpoch


@dataclass
class Recorder(QuestionCollator):
    columns: ClassVar = (*QUESTION_COLUMNS, "sub_question", "irrelevant_question")
    read: list = field(default_factory=list)

    def __call__(self, rows):
        pairs = [(row["question_id"], row.get("sub_question"), row.get("irrelevant_question")) for row in rows]
        self.read.append(sorted(pairs, key=str))
        return super().__call__(rows)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    sizes = {"train_size": 16, "dev_size": 8, "test_id_size": 0, "test_ood_size": 0, "dims": 4, "num_boxes": 6}
    builder = dataset_builder(
        "shapes_vqa", reasoning_share=1.0, cache_dir=str(tmp_path_factory.mktemp("shapes")), **sizes
    )
    builder.download_and_prepare()
    return builder.as_dataset()


@pytest.fixture
def train(rows, tmp_path):
    """Train for three epochs of eight steps and return the triples of each step."""

    def run(name, resume=None, **settings):
        torch.manual_seed(0)
        triples = QuestionTriples(rows["train"], pairs="sampled", seed=5)
        plain = rows["dev"].remove_columns(["sub_questions", "irrelevant_questions"])
        answers = AnswerVocabulary.from_answers(rows["train"]["answers"], min_occurrence=1)
        tokenizer = word_tokenizer(rows["train"]["question"])
        config = UpDnConfig(
            vocab_size=len(tokenizer), word_size=4, hidden_size=4, visual_feat_dim=4, num_labels=len(answers)
        )
        args = GuidanceArguments(
            str(tmp_path / name), num_train_epochs=3, per_device_train_batch_size=3, report_to="none", use_cpu=True,
            disable_tqdm=True, dataloader_pin_memory=False, save_steps=4, save_strategy="steps", **settings,
        )  # fmt: skip
        collator = Recorder(tokenizer, answers)
        trainer = GuidedTrainer(
            UpDnForQuestionAnswering(config), args, train_dataset=MixedQuestions(triples, plain), data_collator=collator,
            guidance=Guidance(), processing_class=tokenizer,
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=resume)
        return collator.read

    return run


def test_every_epoch_has_other_pairs_of_the_same_rows(train, rows):
    steps = train("whole")
    assert len(steps) == 24
    epochs = [sorted((pair for step in steps[first : first + 8] for pair in step), key=str) for first in (0, 8, 16)]
    assert len({tuple(number for number, _, _ in epoch) for epoch in epochs}) == 1
    assert len({str(epoch) for epoch in epochs}) == 3
    alone = sum(not subs for subs in rows["train"]["sub_questions"])
    assert alone < 4
    assert sum(sub is None for _, sub, _ in epochs[0]) == 8 + alone  # the questions without partners


@pytest.mark.parametrize("step", [4, 8, 12, 20])
def test_a_resumed_training_reads_the_same(train, tmp_path, step):
    whole = train("whole")
    resumed = train("resumed", resume=str(tmp_path / "whole" / f"checkpoint-{step}"))
    assert resumed == whole[step:]


def test_the_epoch_is_whole_and_rows_without_one_are_left_alone():
    told = []
    loader = SimpleNamespace(dataset=SimpleNamespace(set_epoch=told.append))
    for epoch in (None, 0, 1.0, 1.999999999, 2.5):
        RowsOfEpoch().on_epoch_begin(None, SimpleNamespace(epoch=epoch), None, train_dataloader=loader)
    assert told == [0, 0, 1, 2, 2]
    RowsOfEpoch().on_epoch_begin(None, SimpleNamespace(epoch=0), None, train_dataloader=SimpleNamespace(dataset=[1]))
    RowsOfEpoch().on_epoch_begin(None, SimpleNamespace(epoch=0), None)
