"""QuestionCollator: turns rows of questions about images into the tensors of a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.data.builder_base import id_text
from hf_guidance.data.collator import RowCollator
from hf_guidance.data.columns import (
    ANNOTATED,
    HUMAN_MAP,
    IMPORTANCE,
    QUESTION_COLUMNS,
    QUESTION_SOURCES,
    RANDOM_IMPORTANCE,
    TARGET,
)
from hf_guidance.data.counting import count_and_log
from hf_guidance.data.questions.answer_texts import answer_texts, check_answers
from hf_guidance.data.questions.answers import AnswerVocabulary
from hf_guidance.data.questions.grid import stacked_grids
from hf_guidance.data.questions.importance import SOURCES, object_importance, question_generator
from hf_guidance.data.questions.maps import checked_map_size, human_maps
from hf_guidance.data.questions.region_check import check_features
from hf_guidance.data.questions.row_objects import object_columns, padded, row_objects
from hf_guidance.data.questions.tokens import cut_questions, token_options

_RANDOM, _CONTROL = 0, 1
_LOOK = 64  # after so many questions without a single label, the vocabulary is taken to be that of other data


@dataclass
class QuestionCollator(RowCollator):
    """Collate rows ``{question, answers, features, boxes, importance, ...}`` into the batch that a guided step reads.

    Every row becomes one explained row. The features of boxes are taken from the row, or looked up in ``regions`` by
    ``image_id``. Images with fewer boxes than others of the batch are padded with zeros. A row is annotated if it has a
    label and importance above zero for some box, unless its ``annotated`` is False; other rows count in the task loss only.

    ``counts`` counts what is allowed but worth knowing, and the first case of each kind is logged (the counts are those of
    the process that collates; each worker of a DataLoader has its own):

    - unknown words, questions cut at ``max_length``, and answers outside the vocabulary;
    - questions without a label: their labels are all zero and their target is 0;
    - questions of batches without any answers though there is a vocabulary;
    - maps whose size cannot be checked against an image;
    - with ``map_size`` human maps that no box lies on: such a row is not annotated, and so not measured.

    Rows may hold ``grid_features`` (cells, dims), too, for a Pythia that looks at a grid beside the boxes.

    With a vocabulary, a question whose ``answers`` is None or empty has labels of zeros, and is not annotated, whatever else is
    in its batch. AnswerLoss is 0 there with "softmax", and that of answers of zeros with "sigmoid"; metrics of answers take
    whatever is predicted as wrong. Rows without the key ``answers`` can only be predicted: a batch of such rows has no labels.

    `AnswerVocabulary.coverage` counts questions without a label and unknown answers in a whole data set.

    Args:
        tokenizer: Called as ``tokenizer(questions, padding=..., truncation=True, max_length=..., return_tensors="pt")``.
        answers: The classes. None for rows without answers, which can only be predicted. The answers of a row are read by
            `answer_texts`: a list of texts, or VQA's list of dicts.
        regions: ``regions[image_id] -> (features, boxes)``, for example a `RegionFeatures`; None when rows hold both. Ids are
            found whether they are text or numbers.
        max_length: Tokens of a question; longer ones are cut, as the papers do, and counted. 14 is usual for UpDn, 20 for
            LXMERT. None takes the tokenizer's ``model_max_length``, or 14 where the tokenizer sets none.
        source: Where importance comes from: "importance", "reference_boxes", "mask", or "auto": the first that a row has.
        seed: Seed of ``random_importance``: one uniform number in [0, 1) per box, the same for a question in every epoch.
        control_seed: When set, the importance values of a question are shuffled among its boxes, alike in every epoch: the
            right values at the wrong boxes, a control that guidance must beat. For training only: the trainer evaluates
            with ``for_evaluation()``, which does not shuffle.
        padding: "max_length" (a question has the same tokens in every batch) or "longest" (pad to the batch's longest). None
            is "max_length", but "longest" where ``max_length`` is None and the tokenizer's own is above 64: text encoders allow
            512 tokens and mask what is padding, so padding to it would cost much and change nothing.
        map_size: (height, width) of the column ``human_map``, the attention maps of the rows' column ``mask`` whatever sizes
            they have, with which `Grounding` compares maps of pixels; None makes no such column.

    Returns:
        On call: ``input_ids`` and ``attention_mask`` (batch, length) int64, ``token_type_ids`` where the tokenizer gives
        it; ``visual_feats`` (batch, objects, dims) float32; ``visual_pos`` (batch, objects, 4) float32 xyxy in [0, 1];
        ``visual_attention_mask`` (batch, objects) int64, 0 for padding; ``grid_feats`` (batch, cells, dims) float32 where
        rows have a grid; ``labels`` (batch, classes) float32 soft scores
        and ``target`` (batch,) int64, unless no row has answers and there is no vocabulary, or a row without the key
        ``answers``; ``annotated`` list of bool; ``importance`` and
        ``random_importance`` (batch, objects) float32, 0 for padding; with ``map_size`` ``human_map`` (batch, height, width)
        float32 in [0, 1], 0 for rows without a map, which must not be annotated.

    Raises:
        ValueError: On construction for unknown options; on call for an empty batch, for a row that cannot be used (the message
            has its question_id), and when none of the first 64 questions has a label.

    Example:
        >>> collator = QuestionCollator(tokenizer, AnswerVocabulary.from_answers(train["answers"]), regions)
    """

    columns: ClassVar[tuple[str, ...]] = QUESTION_COLUMNS
    sources: ClassVar[tuple[str, ...]] = QUESTION_SOURCES
    answer_columns: ClassVar[tuple[str, ...]] = ("answers",)

    tokenizer: Any
    answers: AnswerVocabulary | None = None
    regions: Any = None
    max_length: int | None = None
    source: str = "auto"
    seed: int = 0
    control_seed: int | None = None
    padding: str | None = None
    map_size: tuple[int, int] | None = None
    counts: Counter[str] = field(default_factory=Counter, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_choice("source", self.source, SOURCES)
        if self.padding is not None:
            check_choice("padding", self.padding, ("max_length", "longest"))
        if self.map_size is not None:
            self.map_size = checked_map_size(self.map_size, self)
            if self.control_seed is not None:
                raise ValueError(
                    f"map_size={self.map_size} with control_seed={self.control_seed}: the control shuffles importance among "
                    "boxes, and the human maps would stay true; leave out one of the two."
                )
        self.max_length, self.padding = token_options(self.tokenizer, self.max_length, self.padding)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate; see the class."""
        if not len(rows):
            raise ValueError(
                "the batch is empty; give at least one row. Does a filter leave no question, or a batch sampler yield []?"
            )
        names = [f"row {index} of the batch (question_id {row.get('question_id')!r})" for index, row in enumerate(rows)]
        batch = self._question(rows, names)
        objects = [row_objects(row, self.regions, name) for row, name in zip(rows, names, strict=True)]
        batch |= object_columns(objects)
        grids = stacked_grids(rows, names)
        if grids is not None:
            batch["grid_feats"] = grids
        labelled = [False] * len(rows)
        if any(row.get("answers") is not None for row in rows):
            batch["labels"] = self._labels(rows, names)
            batch[TARGET] = batch["labels"].argmax(1)
            labelled = batch["labels"].any(1).tolist()
        elif self.answers is not None:
            self._count("questions without answers", len(rows), names[0])
            if all("answers" in row for row in rows):  # as where another row of the batch has answers
                batch["labels"] = torch.zeros(len(rows), len(self.answers))
                batch[TARGET] = torch.zeros(len(rows), dtype=torch.long)
        importance = [
            self._importance(row, boxes, name) for row, (_, boxes), name in zip(rows, objects, names, strict=True)
        ]
        batch[ANNOTATED] = [usable and bool(scores.any()) for usable, scores in zip(labelled, importance, strict=True)]
        batch[IMPORTANCE] = padded(importance)
        if self.map_size is not None:
            batch[HUMAN_MAP] = human_maps(rows, names, batch[ANNOTATED], self.map_size)
            self._count_outside(rows, names, labelled, batch)
        batch[RANDOM_IMPORTANCE] = padded(
            [
                question_generator(self.seed, id_text(row["question_id"]), _RANDOM).random(len(boxes), np.float32)
                for row, (_, boxes) in zip(rows, objects, strict=True)
            ]
        )
        return batch

    def for_evaluation(self) -> Self:
        """The same collator with importance at its true boxes, not shuffled; it shares ``counts``."""
        if self.control_seed is None:
            return self
        true = replace(self, control_seed=None)
        true.counts = self.counts
        return true

    def check_rows(self, rows: Any, name: str) -> None:
        """Raise a ValueError, with their number, if images of a data set have no features in ``regions``."""
        if self.regions is not None:
            check_features(rows, self.regions, name)

    def check_training_rows(self, rows: Any, name: str) -> None:
        """Raise a ValueError where there is a vocabulary, and rows have no column 'answers', or it holds nothing but None."""
        if self.answers is not None:
            check_answers(rows, name, self.answer_columns)

    def _question(self, rows: Sequence[Mapping[str, Any]], names: list[str]) -> dict[str, Any]:
        for row, name in zip(rows, names, strict=True):
            if not isinstance(row.get("question"), str) or not row["question"].strip():
                raise ValueError(
                    f"{name}: the question is {row.get('question')!r}; allowed is text. Leave the row out."
                )
            if row.get("question_id") is None:
                raise ValueError(
                    f"{name} has no question_id, from which random importance is drawn; add one, unique per question."
                )
            _id(row["question_id"], f"{name}, question_id")
        questions = [row["question"] for row in rows]
        encoded = self.tokenizer(
            questions,
            padding=self.padding,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        )
        batch = {key: encoded[key] for key in ("input_ids", "attention_mask", "token_type_ids") if key in encoded}
        silent = (batch["attention_mask"] == 0).all(1)
        if silent.any():
            index = int(silent.int().argmax())
            raise ValueError(f"{names[index]}: {questions[index]!r} holds no word. Leave the row out.")
        unknown_id = getattr(self.tokenizer, "unk_token_id", None)
        if unknown_id is not None:
            unknown = (batch["input_ids"] == unknown_id) & (batch["attention_mask"] == 1)
            index = int(unknown.any(1).int().argmax())
            self._count("unknown words", int(unknown.sum()), f"{names[index]}: {questions[index]!r}")
        cut = cut_questions(self.tokenizer, questions, batch["attention_mask"], int(self.max_length or 0))
        if cut:
            share = f"{len(cut)} of this batch's {len(rows)} have more than {self.max_length} tokens"
            self._count("questions cut at max_length", len(cut), f"{names[cut[0]]}: {questions[cut[0]]!r} ({share})")
        return batch

    def _labels(self, rows: Sequence[Mapping[str, Any]], names: list[str]) -> Tensor:
        if self.answers is None:
            raise ValueError("rows have answers but the collator no vocabulary; pass answers=AnswerVocabulary(...).")
        labels = np.zeros((len(rows), len(self.answers)), np.float32)
        for index, (row, name) in enumerate(zip(rows, names, strict=True)):
            given = answer_texts(row.get("answers"), name)
            labels[index], missing = self.answers.scored(given)
            self._count("answers outside the vocabulary", len(missing), f"{name}: {missing}")
            without = int(not labels[index].any())
            self._count("questions without a label", without, f"{name}: answers {given}")
        self.counts["questions"] += len(rows)
        if self.counts["questions"] >= _LOOK and self.counts["questions"] == self.counts["questions without a label"]:
            raise ValueError(
                f"none of {self.counts['questions']} questions has a label: {names[0]} has answers "
                f"{rows[0].get('answers')}, the vocabulary begins {list(self.answers.answers[:5])}. Build it from these data "
                "with AnswerVocabulary.from_answers."
            )
        return torch.from_numpy(labels)

    def _importance(self, row: Mapping[str, Any], boxes: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
        flag = row.get(ANNOTATED)
        scores = None
        if flag is None or flag:
            scores = object_importance(row, boxes, self.source, name, self._count)
        if scores is None:
            return np.zeros(len(boxes), np.float32)
        if self.control_seed is None:
            return scores
        return question_generator(self.control_seed, id_text(row["question_id"]), _CONTROL).permutation(scores)

    def _count_outside(
        self, rows: Sequence[Mapping[str, Any]], names: list[str], labelled: list[bool], batch: Mapping[str, Any]
    ) -> None:
        shown = (batch[HUMAN_MAP].flatten(1) > 0).any(1).tolist()
        for row, name, *used, annotated in zip(rows, names, labelled, shown, batch[ANNOTATED], strict=True):
            if all(used) and not annotated and row.get(ANNOTATED) in (None, True):
                self._count("human maps that no box lies on, which are not measured", 1, name)

    def _count(self, reason: str, number: int, item: str) -> None:
        count_and_log(self.counts, reason, number, item, "collator.counts")


def _id(value: Any, item: str) -> str:
    try:
        return id_text(value)
    except ValueError as error:
        raise ValueError(f"{item}: {error}") from None
