"""QuestionTripleCollator: a reasoning question, its sub-question and an irrelevant question, as rows of one batch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hf_guidance.data.builder_base import id_text
from hf_guidance.data.columns import (
    ANNOTATED,
    ANSWERED,
    COMPARED_AS,
    GROUP,
    IMAGE_ID,
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
from hf_guidance.data.questions.answer_texts import answer_texts
from hf_guidance.data.questions.collator import QuestionCollator
from hf_guidance.data.questions.importance import question_generator
from hf_guidance.data.questions.row_objects import row_objects
from hf_guidance.data.questions.triple_checks import (
    MEASURED_AS_ONE,
    TEXTS,
    check_triples,
    refuse_equal,
    refuse_no_text,
    shared_ids,
)

_logger = logging.getLogger(__name__)

_ANSWERS = {REASONING: "answers", SUB_QUESTION: "sub_answers", IRRELEVANT: "irrelevant_answers"}
_SUFFIXES = {REASONING: "", SUB_QUESTION: "#sub", IRRELEVANT: "#irrelevant"}
_OF_QUESTIONS = (ROLE, COMPARED_AS, GROUP, ANSWERED, SAME_IMAGE, QUESTION, QUESTION_ID, IMAGE_ID)
_OF_IMAGE = ("grid_features",)  # beside features and boxes, which are looked up
_UNUSED = {"source": "auto", "seed": 0, "map_size": None}
_SWAPPED = 2  # the draw of the control; the draws of importance are 0 and 1
Questions = dict[int, tuple[Any, Any]]


@dataclass
class QuestionTripleCollator(QuestionCollator):
    """Collate rows ``{question, answers, sub_question, sub_answers, irrelevant_question, irrelevant_answers, ...}``.

    Every question of a row becomes a row of the batch, with the row's image: one call of the model answers all, and one
    backward explains them. What the model computes of the image alone is computed once per image (``same_image``). Column
    ``group`` numbers the rows of the data set, ``role`` says what the question is in its row.

    Questions are compared within their group. The questions of a row without sub-question stand alone, in no group, and count
    in the task loss only (as the questions of VQA v2 beside those of VQA-Introspect). A reasoning question with a sub-question
    and no irrelevant one is a group of two, which AttentionSQuINT and the form of ContrastiveSOrT without irrelevant questions
    read. ``annotated`` says which questions of groups have a label, and so a score to explain: only they are compared. The
    others keep role and group, by which the task weighs them. Importance of boxes is not collated.

    A question whose answers are None or empty has labels of zeros and is not ``answered``: RoleAnswerLoss and the metrics of
    QuestionConsistency leave it out. Where a row lacks the key ``answers`` it can only be predicted, as with QuestionCollator.

    ``counts`` is that of QuestionCollator, over all questions, with the irrelevant questions that have no sub-question.

    Args:
        tokenizer: As for `QuestionCollator`.
        answers: As for `QuestionCollator`.
        regions: As for `QuestionCollator`. Features are looked up once per row.
        max_length: As for `QuestionCollator`.
        source: Must be "auto": no importance is collated.
        seed: Must be 0: no importance is drawn.
        control_seed: When set, the sub- and the irrelevant question are compared as each other in about half of the triples,
            alike in every epoch: a control that SOrT must beat. Only ``compared_as`` changes by it: the answers are learned
            with the weights of their true roles. For training only, as the trainer evaluates with ``for_evaluation()``.
        padding: As for `QuestionCollator`.
        map_size: Must be None: no map is collated.

    Returns:
        On call, with one entry per question: what `QuestionCollator` gives but importance; ``role``, a list of 0 (reasoning),
        1 (sub-question) and 2 (irrelevant); ``compared_as``, the same but swapped by the control; ``group``, a list of numbers
        >= 0, -1 without sub-question; ``annotated``, a list of bool; ``answered``, a list of bool: whether the row has answers
        to the question, of the vocabulary or not; ``same_image``, a list of numbers, equal where questions are about one
        image; ``question`` and ``question_id``, lists of texts: each question, and the id of its reasoning question;
        ``image_id``, a list of texts, None for rows without one, where any row has one.

    Raises:
        ValueError: On construction for options that it does not take; on call as `QuestionCollator`, for a sub-question that
            is the reasoning question itself, or any two equal questions of a row, for a sub- or irrelevant question that is no
            text, and for answers without their question. The message has the question_id.

    Example:
        >>> collator = QuestionTripleCollator(tokenizer, AnswerVocabulary.from_answers(train["answers"]), regions)
    """

    columns: ClassVar[tuple[str, ...]] = TRIPLE_COLUMNS
    sources: ClassVar[tuple[str, ...]] = (TEXTS[SUB_QUESTION],)
    answer_columns: ClassVar[tuple[str, ...]] = tuple(_ANSWERS.values())
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
        own: dict[str, list[Any]] = {name: [] for name in _OF_QUESTIONS}
        numbers: dict[Any, int] = {}
        for index, row in enumerate(rows):
            name = f"row {index} of the batch (question_id {row.get('question_id')!r})"
            features, boxes = row_objects(row, self.regions, name)
            shown = {"features": features, "boxes": boxes} | {key: row[key] for key in _OF_IMAGE if key in row}
            image = index if row.get("features") is not None else id_text(row["image_id"])
            questions, key = self._questions(row, name), row.get("question_id")
            compared = self._compared(questions, row)
            for role, (text, answers) in questions.items():
                one = {"question": text, ANNOTATED: False}
                one |= {"answers": answers} if {"answers", _ANSWERS[role]} & row.keys() else {}
                expanded.append(
                    shown | one | {"question_id": f"{key}{_SUFFIXES[role]}" if role and key is not None else key}
                )
                own[ROLE].append(role)
                own[COMPARED_AS].append(compared.get(role, role))
                own[GROUP].append(index if SUB_QUESTION in questions else NO_GROUP)
                own[SAME_IMAGE].append(numbers.setdefault(image, len(numbers)))
                own[QUESTION].append(text)
                own[QUESTION_ID].append(key)
                own[IMAGE_ID].append(row.get(IMAGE_ID))
        batch = super().__call__(expanded)  # which refuses ids that are none
        own[ANSWERED] = [len(answer_texts(one.get("answers"))) > 0 for one in expanded]
        own[QUESTION_ID] = [id_text(key) for key in own[QUESTION_ID]]
        own[IMAGE_ID] = [None if key is None else id_text(key) for key in own[IMAGE_ID]]
        if not any(key is not None for key in own[IMAGE_ID]):
            del own[IMAGE_ID]
        labelled = batch["labels"].any(1).tolist() if "labels" in batch else [False] * len(expanded)
        batch[ANNOTATED] = [has and group != NO_GROUP for has, group in zip(labelled, own[GROUP], strict=True)]
        del batch[IMPORTANCE], batch[RANDOM_IMPORTANCE]
        return batch | own

    def check_rows(self, rows: Any, name: str) -> None:
        """Raise a ValueError for images without features, and as `check_triples`."""
        super().check_rows(rows, name)
        check_triples(rows, name)

    def check_training_rows(self, rows: Any, name: str) -> None:
        """As `QuestionCollator`; warn of two reasoning questions of one id where the control draws by it."""
        super().check_training_rows(rows, name)
        if self.control_seed is not None and (told := next(shared_ids(rows), None)):
            _logger.warning(
                f"{name}: {told}. control_seed={self.control_seed} draws by {QUESTION_ID}, so the triples of one id are "
                "swapped alike; give each question an id of its own."
            )

    def check_evaluation_rows(self, rows: Any, name: str) -> None:
        """Raise a ValueError where one id is of two reasoning questions with sub-questions, measured as one."""
        if told := next(shared_ids(rows), None):
            raise ValueError(f"{name}: {told}. {MEASURED_AS_ONE}")

    def _questions(self, row: Mapping[str, Any], name: str) -> Questions:
        if row.get("sub_questions") and TEXTS[SUB_QUESTION] not in row:
            raise ValueError(
                f"{name} has a list 'sub_questions' and no 'sub_question'; a row is one triple. Choose one of each list, as "
                "sub_question, sub_answers, irrelevant_question and irrelevant_answers."
            )
        found: Questions = {}
        for role, column in TEXTS.items():
            text, answers = row.get(column), row.get(_ANSWERS[role])
            if role != REASONING:
                refuse_no_text(text, column, name)
            if text is not None or role == REASONING:
                found[role] = (text, answers)  # what is no text is refused with its id
            elif answers is not None and len(answers):
                raise ValueError(
                    f"{name} has {_ANSWERS[role]!r} and no {column!r}; add the question, or leave both out."
                )
        refuse_equal({role: text for role, (text, _) in found.items()}, name)
        if IRRELEVANT in found and SUB_QUESTION not in found:
            self._count("irrelevant questions without a sub-question", 1, name)
        return found

    def _compared(self, questions: Questions, row: Mapping[str, Any]) -> dict[int, int]:
        """The roles as which questions are compared, where these are not their own."""
        if self.control_seed is None or len(questions) < len(TEXTS) or row.get("question_id") is None:
            return {}
        drawn = question_generator(self.control_seed, id_text(row["question_id"]), _SWAPPED).random()
        return {SUB_QUESTION: IRRELEVANT, IRRELEVANT: SUB_QUESTION} if drawn < 0.5 else {}
