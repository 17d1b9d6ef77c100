"""QuestionTripleCollator: a reasoning question, its sub-question and an irrelevant question, as rows of one batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

from hf_guidance.data.annotated import can_be_judged
from hf_guidance.data.builder_base import id_text
from hf_guidance.data.columns import (
    ANNOTATED,
    EXPLAINED_ROW_COLUMNS,
    GROUP,
    IMPORTANCE,
    IRRELEVANT,
    NO_GROUP,
    QUESTION,
    QUESTION_ID,
    RANDOM_IMPORTANCE,
    REASONING,
    ROLE,
    SAME_IMAGE,
    SUB_QUESTION,
    TRIPLE_COLUMNS,
)
from hf_guidance.data.questions.collator import QuestionCollator
from hf_guidance.data.questions.importance import question_generator
from hf_guidance.data.questions.row_objects import row_objects
from hf_guidance.data.questions.wording import question_words

_TEXTS = {REASONING: "question", SUB_QUESTION: "sub_question", IRRELEVANT: "irrelevant_question"}
_ANSWERS = {REASONING: "answers", SUB_QUESTION: "sub_answers", IRRELEVANT: "irrelevant_answers"}
_SUFFIXES = {REASONING: "", SUB_QUESTION: "#sub", IRRELEVANT: "#irrelevant"}
_OF_IMAGE = ("grid_features",)  # beside features and boxes, which are looked up
_UNUSED = {"source": "auto", "seed": 0, "map_size": None}
_SWAPPED = 2  # the draw of the control; the draws of importance are 0 and 1
Questions = dict[int, tuple[Any, Any]]


@dataclass
class QuestionTripleCollator(QuestionCollator):
    """Collate rows ``{question, answers, sub_question, sub_answers, irrelevant_question, irrelevant_answers, ...}``.

    Every question of a row becomes a row of the batch, with the row's image: one call of the model answers all, and one
    backward explains them. What the model computes of the image alone is computed once per image (``same_image``). Column
    ``group`` numbers the rows of the data set, ``role`` says what the question is in its group.

    Questions are compared within their group. Without a partner a question is in no group, and counts in the task loss only:
    a reasoning question without sub-question (as the questions of VQA v2 beside those of VQA-Introspect), an irrelevant
    question without sub-question, and every question without a label, which has no score to explain. A reasoning question
    with a sub-question and no irrelevant one is a group of two, which AttentionSQuINT and the form of ContrastiveSOrT
    without irrelevant questions read. ``annotated`` says which questions are in a group; importance of boxes is not collated.

    ``counts`` is that of QuestionCollator, over all questions, with the irrelevant questions that have no sub-question.

    Args:
        tokenizer: As for `QuestionCollator`.
        answers: As for `QuestionCollator`.
        regions: As for `QuestionCollator`. Features are looked up once per row.
        max_length: As for `QuestionCollator`.
        source: Must be "auto": no importance is collated.
        seed: Must be 0: no importance is drawn.
        control_seed: When set, the sub- and the irrelevant question are swapped in about half of the triples, alike in every
            epoch: a control that SOrT must beat. The answers go with their questions. For training only, as the trainer
            evaluates with ``for_evaluation()``.
        padding: As for `QuestionCollator`.
        map_size: Must be None: no map is collated.

    Returns:
        On call, with one entry per question: what `QuestionCollator` gives but importance; ``role``, a list of 0 (reasoning),
        1 (sub-question) and 2 (irrelevant); ``group``, a list of numbers >= 0, -1 without partner; ``annotated``, a list of
        bool; ``same_image``, a list of numbers, equal where questions are about one image; ``question`` and
        ``question_id``, lists of texts: each question, and the id of its reasoning question.

    Raises:
        ValueError: On construction for options that it does not take; on call as `QuestionCollator`, for a sub-question that
            is the reasoning question itself, or any two equal questions of a row, and for answers without their question. The
            message has the question_id.

    Example:
        >>> collator = QuestionTripleCollator(tokenizer, AnswerVocabulary.from_answers(train["answers"]), regions)
    """

    columns: ClassVar[tuple[str, ...]] = TRIPLE_COLUMNS
    sources: ClassVar[tuple[str, ...]] = (_TEXTS[SUB_QUESTION],)
    explained_row_columns: ClassVar[tuple[str, ...]] = (*EXPLAINED_ROW_COLUMNS, ROLE, GROUP, QUESTION, QUESTION_ID)
    several: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {name: getattr(self, name) for name, unused in _UNUSED.items() if getattr(self, name) != unused}
        if given:
            raise ValueError(
                f"QuestionTripleCollator({', '.join(f'{name}={value!r}' for name, value in given.items())}): importance of "
                "boxes is not collated with triples. Leave it out, or collate with QuestionCollator."
            )

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate; see the class."""
        expanded: list[dict[str, Any]] = []
        roles, groups, images, texts, keys = [], [], [], [], []
        numbers: dict[Any, int] = {}
        for index, row in enumerate(rows):
            name = f"row {index} of the batch (question_id {row.get('question_id')!r})"
            features, boxes = row_objects(row, self.regions, name)
            shown = {"features": features, "boxes": boxes} | {key: row[key] for key in _OF_IMAGE if key in row}
            image = index if row.get("features") is not None else id_text(row["image_id"])
            for role, (text, answers) in self._questions(row, name).items():
                key = row.get("question_id")
                one = {"question": text, "answers": answers, ANNOTATED: False}
                expanded.append(
                    shown | one | {"question_id": f"{key}{_SUFFIXES[role]}" if role and key is not None else key}
                )
                roles.append(role)
                groups.append(index)
                texts.append(text)
                keys.append(key)
                images.append(numbers.setdefault(image, len(numbers)))
        batch = super().__call__(expanded)
        labelled = batch["labels"].any(1).tolist() if "labels" in batch else [False] * len(expanded)
        batch[ROLE], batch[GROUP] = roles, _with_partners(roles, groups, labelled)
        batch[ANNOTATED] = [group != NO_GROUP for group in batch[GROUP]]
        batch[SAME_IMAGE] = images
        batch[QUESTION], batch[QUESTION_ID] = texts, [id_text(key) for key in keys]
        del batch[IMPORTANCE], batch[RANDOM_IMPORTANCE]
        return batch

    def check_rows(self, rows: Any, name: str) -> None:
        """Raise a ValueError for images without features, and for the first row that holds one question twice."""
        super().check_rows(rows, name)
        for index, texts in enumerate(_texts_of(rows)):
            _refuse_equal(texts, f"row {index} of {name}")

    def _questions(self, row: Mapping[str, Any], name: str) -> Questions:
        if row.get("sub_questions") and _TEXTS[SUB_QUESTION] not in row:
            raise ValueError(
                f"{name} has a list 'sub_questions' and no 'sub_question'; a row is one triple. Choose one of each list, as "
                "sub_question, sub_answers, irrelevant_question and irrelevant_answers."
            )
        found: Questions = {}
        for role, column in _TEXTS.items():
            text, answers = row.get(column), row.get(_ANSWERS[role])
            if text is not None or role == REASONING:
                found[role] = (text, answers)  # what is no text is refused with its id
            elif answers is not None and len(answers):
                raise ValueError(
                    f"{name} has {_ANSWERS[role]!r} and no {column!r}; add the question, or leave both out."
                )
        _refuse_equal({role: text for role, (text, _) in found.items()}, name)
        if IRRELEVANT in found and SUB_QUESTION not in found:
            self._count("irrelevant questions without a sub-question", 1, name)
        if self.control_seed is not None and len(found) == len(_TEXTS):
            drawn = question_generator(self.control_seed, id_text(row["question_id"]), _SWAPPED).random()
            if drawn < 0.5:
                found[SUB_QUESTION], found[IRRELEVANT] = found[IRRELEVANT], found[SUB_QUESTION]
        return found


def _with_partners(roles: Sequence[int], groups: Sequence[int], labelled: Sequence[bool]) -> list[int]:
    """The group of each question; NO_GROUP without a label, and in groups without reasoning or sub-question."""
    held: dict[int, set[int]] = {}
    for role, group, has_label in zip(roles, groups, labelled, strict=True):
        if has_label:
            held.setdefault(group, set()).add(role)
    whole = {group for group, found in held.items() if {REASONING, SUB_QUESTION} <= found}
    return [
        group if has_label and group in whole else NO_GROUP for group, has_label in zip(groups, labelled, strict=True)
    ]


def _refuse_equal(texts: Mapping[int, Any], name: str) -> None:
    words = {role: question_words(text) for role, text in texts.items() if isinstance(text, str)}
    for one, other in combinations(words, 2):
        if words[one] and words[one] == words[other]:
            raise ValueError(
                f"{name}: {_TEXTS[one]} and {_TEXTS[other]} are both {texts[one]!r}; a question tells nothing of itself. "
                "Leave the second one out: the row then has no such question."
            )


def _texts_of(rows: Any) -> Iterator[dict[int, Any]]:
    # Of data that hold their texts; a stream, and rows that are made as they are read, are looked at in their batches.
    if isinstance(rows, list | tuple):
        yield from (
            {role: row.get(column) for role, column in _TEXTS.items()} for row in rows if isinstance(row, Mapping)
        )
    elif can_be_judged(rows):
        columns = {role: column for role, column in _TEXTS.items() if column in rows.column_names}
        for batch in rows.with_format("arrow").select_columns(list(columns.values())).iter(batch_size=1000):
            texts: Iterable[Any] = zip(*(batch.column(column).to_pylist() for column in columns.values()), strict=True)
            yield from (dict(zip(columns, each, strict=True)) for each in texts)
