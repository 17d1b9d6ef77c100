"""QuestionConsistency: whether answers to questions agree, and rest on the same, measured by evaluate()."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hf_guidance.attributions import Attribution, InputXGradient
from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import (
    ANSWERED,
    IMAGE_ID,
    IRRELEVANT,
    NO_GROUP,
    QUESTION,
    QUESTION_ID,
    REASONING,
    SUB_QUESTION,
)
from hf_guidance.data.questions.triple_checks import OneQuestionPerId
from hf_guidance.data.questions.wording import question_words
from hf_guidance.evaluation.metric_modules import load_metric
from hf_guidance.forward import Forward
from hf_guidance.objectives.question_groups import cosine, of_questions, roles_and_groups
from hf_guidance.views import FULL, Needs
from hf_guidance.views.layers import FUSION
from hf_guidance.views.layers import QUESTION as QUESTION_SIDE

_ROLES = {REASONING: "reasoning", SUB_QUESTION: "sub", IRRELEVANT: "irrelevant"}
_SIMILARITIES = ("gradcam", "question", "both", "none")
_CORRECTNESS = ("hard", "soft")
Question = tuple[str, int, tuple[str, ...]]  # id of the reasoning question, role, words


@dataclass
class QuestionConsistency:
    """Metrics of triples of questions for ``evaluate()``: ``vqa_consistency`` and ``question_ranking``.

    Measured are the questions of rows with a sub-question. One whose answers are all outside the vocabulary is answered
    wrongly, whatever is predicted, and is not ranked, for it has no score to explain; one without any answers has no truth and
    is left out, and with a reasoning question its sub-questions. A question counts once for each reasoning question, in
    however many rows it stands; rows of one reasoning question are told by ``question_id``. Roles are the true ones, those of
    the column "role", also where a control compares questions as others.

    The ranking is by ``cos(s_R, s_C)`` of a reasoning question R and each of its candidates C, where s is one of the three
    vectors of the released code of SOrT (arXiv 2010.10038; which one the paper's table 1 shows is not said):

    - "gradcam": the Grad-CAM vector, ``J * d(logit of the answer) / dJ`` at the layer "fusion";
    - "question": the question's side of the product at the fusion, ``relu(W_q q)``, which knows nothing of the image;
    - "both": the two, each divided by its largest magnitude, behind each other (there by its largest
      entry, which may be negative).

    Args:
        similarity: One of them, or "none": then nothing is ranked.
        attribution: The method of the Grad-CAM vector.
        correctness: "hard": the best-scored answer; "soft": the soft score of the predicted one.
        wpr: Form of the metric ``wpr``, "paper" or "official"; see ``metrics/question_ranking``.

    Raises:
        ValueError: Unknown option; in training or evaluation, a model without the layers that the similarity reads.

    Example:
        >>> trainer = GuidedTrainer(..., data_collator=triples, consistency=QuestionConsistency("both"))
        >>> trainer.evaluate()["eval_consistency"]
    """

    similarity: str = "gradcam"
    attribution: Attribution = field(default_factory=lambda: InputXGradient(FUSION))
    correctness: str = "hard"
    wpr: str = "paper"

    def __post_init__(self) -> None:
        check_choice("similarity", self.similarity, _SIMILARITIES, self)
        check_choice("correctness", self.correctness, _CORRECTNESS, self)
        check_choice("wpr", self.wpr, ("paper", "official"), self)
        self.reset()

    @classmethod
    def of(cls, family: Any) -> QuestionConsistency:
        """The default for a family: nothing is ranked where it names no layer "fusion"."""
        return cls("gradcam" if FUSION in family.layers else "none")

    def needs(self) -> Needs:
        """What the similarity reads of a Forward."""
        gradcam = self.attribution.needs() if self.similarity in ("gradcam", "both") else Needs()
        return gradcam | ([(FULL, QUESTION_SIDE)] if self.similarity in ("question", "both") else [])

    def reset(self) -> None:
        """Forget what was added."""
        self._answers: dict[Question, tuple[int, Any]] = {}
        self._similar: dict[Question, float] = {}
        self._reasoning = OneQuestionPerId()

    def add(self, forward: Forward) -> None:
        """Add the questions of a batch that are in a group.

        Args:
            forward: A forward of all questions whose explained rows are the annotated ones, with the needs of this; these may
                be left out where no question is annotated.

        Raises:
            ValueError: The batch lacks a column, as ``question_id``, that QuestionTripleCollator makes; or two reasoning
                questions have one id.
        """
        questions = roles_and_groups(forward)
        ids, texts = (of_questions(forward, name) for name in (QUESTION_ID, QUESTION))
        images = of_questions(forward, IMAGE_ID) if IMAGE_ID in forward.batch else [None] * len(ids)
        answered = of_questions(forward, ANSWERED) if ANSWERED in forward.batch else [True] * len(ids)
        names = [
            (str(one), role, question_words(text)) for one, (role, _), text in zip(ids, questions, texts, strict=True)
        ]
        labels, predicted = forward.column("labels").cpu(), forward.logits().argmax(1).tolist()
        for place, (name, (role, group)) in enumerate(zip(names, questions, strict=True)):
            if group == NO_GROUP:
                continue
            if role == REASONING:
                self._reasoning.add(name[0], texts[place], images[place])
            if answered[place]:
                self._answers[name] = self._answer(predicted[place], labels[place])
        if self.similarity != "none" and forward.row:
            groups = [questions[image][1] for image in forward.row]
            self._compare([names[image] for image in forward.row], groups, self._vectors(forward))

    def _answer(self, predicted: int, truth: Tensor) -> tuple[int, Any]:
        """Prediction and reference for the metric, no longer than they must be: there are thousands of answers."""
        if truth.dim() == 0:
            return predicted, int(truth)
        if self.correctness == "soft":
            return 0, [float(truth[predicted])]
        return (predicted, int(truth.argmax())) if truth.any() else (0, [0.0])

    def _vectors(self, forward: Forward) -> Tensor:
        parts = []
        if self.similarity in ("gradcam", "both"):
            parts.append(forward.attribution(self.attribution).detach().flatten(1))
        if self.similarity in ("question", "both"):
            parts.append(forward.activation(QUESTION_SIDE).detach().relu().flatten(1))
        if len(parts) > 1:
            parts = [part / part.abs().amax(1, keepdim=True).clamp_min(torch.finfo(part.dtype).tiny) for part in parts]
        return torch.cat(parts, 1)

    def _compare(self, names: list[Question], groups: list[int], vectors: Tensor) -> None:
        first = {
            group: row for row, (group, (_, role, _)) in enumerate(zip(groups, names, strict=True)) if role == REASONING
        }
        rows = [row for row, group in enumerate(groups) if group in first and first[group] != row and group != NO_GROUP]
        if not rows:  # no reasoning question with a score to explain, or none with a candidate
            return
        similar = cosine(vectors[[first[groups[row]] for row in rows]], vectors[rows])[0]
        for row, value in zip(rows, torch.nan_to_num(similar, 0.0, 0.0, 0.0).tolist(), strict=True):
            self._similar[names[row]] = value

    def compute(self) -> dict[str, float]:
        """The metrics of what was added, which is then forgotten; empty where nothing was.

        Returns:
            What ``vqa_consistency`` gives, and ``question_ranking`` where there is a reasoning question with both kinds of
            questions; without those that are not defined.
        """
        found: dict[str, Any] = {}
        known = {one for one, role, _ in self._answers if role == REASONING}
        paired = {name: answer for name, answer in self._answers.items() if name[0] in known}
        if any(role == SUB_QUESTION for _, role, _ in paired):
            names, answers = list(paired), list(paired.values())
            found |= load_metric("vqa_consistency").compute(
                predictions=[answer for answer, _ in answers], references=[truth for _, truth in answers],
                role=[_ROLES[role] for _, role, _ in names], group=[one for one, _, _ in names],
                correctness=self.correctness,
            )  # fmt: skip
        kinds: dict[str, set[int]] = {}
        for one, role, _ in self._similar:
            kinds.setdefault(one, set()).add(role)
        if any(len(of_group) > 1 for of_group in kinds.values()):
            found |= load_metric("question_ranking").compute(
                predictions=list(self._similar.values()),
                references=[int(role == SUB_QUESTION) for _, role, _ in self._similar],
                group=[one for one, _, _ in self._similar], wpr=self.wpr, one_kind="drop",
            )  # fmt: skip
        self.reset()
        return {name: float(value) for name, value in found.items() if value is not None}
