"""explain_answer: which boxes of an image the answer to a question comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from hf_guidance.attributions import Attribution
from hf_guidance.data import AnswerVocabulary, QuestionCollator
from hf_guidance.evaluation.explaining.batches import ExplainedBatch, explained_batch
from hf_guidance.evaluation.explaining.given import given_images
from hf_guidance.evaluation.explaining.methods import method_of
from hf_guidance.evaluation.explaining.models import device_of, plain_model, quiet
from hf_guidance.evaluation.explaining.sizes import check_counts
from hf_guidance.evaluation.explaining.targets import label_names, probabilities, wanted_classes
from hf_guidance.evaluation.figures import Panel, panel_figure, save_figure
from hf_guidance.families import Family, family_of
from hf_guidance.guidance.expression import method_text

Floats = npt.NDArray[np.floating]
_BLANK = (300, 400)  # height and width of what boxes are drawn on without an image
_LONGEST = 600  # pixels of the image in a figure


@dataclass(frozen=True, eq=False)
class AnswerExplanation:
    """Which boxes an answer comes from.

    Attributes:
        question: The question.
        target: Number of the explained answer.
        answer: The explained answer; its number where neither a vocabulary nor the model has names.
        score: Its probability (softmax; sigmoid for models trained so).
        logit: Its logit.
        top: The most probable answers with their probabilities, the best first.
        box_scores: (objects,) the attribution of each box, signed: positive speaks for the answer.
        boxes: (objects, 4) xyxy in [0, 1].
        attribution: The method.
    """

    question: str
    target: int
    answer: str
    score: float
    logit: float
    top: list[tuple[str, float]]
    box_scores: Floats = field(repr=False)
    boxes: Floats = field(repr=False)
    attribution: Attribution

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "question": self.question, "target": self.target, "answer": self.answer, "score": self.score, "logit": self.logit,
            "top": [{"answer": answer, "score": score} for answer, score in self.top],
            "boxes": self.boxes.tolist(), "box_scores": self.box_scores.tolist(), "attribution": method_text(self.attribution),
        }  # fmt: skip

    def plot(self, image: Any = None) -> Any:
        """A matplotlib Figure: the boxes over the image, coloured by their scores.

        Red boxes speak for the answer, blue ones against it; the stronger, the more opaque.

        Args:
            image: The image that the boxes belong to, as `explain` takes one; None draws the boxes on white.

        Raises:
            ValueError: The image cannot be read, or several are given.
        """
        height, width = _BLANK
        drawn = np.ones((height, width, 3))
        if image is not None:
            given, _ = given_images(image)
            if len(given) > 1:
                raise ValueError(f"{len(given)} images are given; a question is about one.")
            picture = given[0].read()
            picture.thumbnail((_LONGEST, _LONGEST))
            drawn, (width, height) = np.asarray(picture, float) / 255, picture.size
        boxes = self.boxes * np.array([width, height, width, height])
        best = ", ".join(f"{answer} {score:.2f}" for answer, score in self.top[:3])
        panel = Panel(drawn, boxes=boxes, box_scores=self.box_scores, title=f"{self.question}\n{best}")
        return panel_figure([[panel]], title=f"boxes for: {self.answer}", side=4.5)

    def save(self, path: str | Path, image: Any = None) -> Path:
        """Write ``plot(image)`` to a file, by its suffix; the file is whole or absent.

        Raises:
            ValueError: An unknown suffix, or as ``plot``.
        """
        save_figure(self.plot(image), path)
        return Path(path)


def explain_answer(
    model: Any,
    question: str,
    features: Any,
    boxes: Any,
    tokenizer: Any,
    *,
    answers: AnswerVocabulary | None = None,
    attribution: Attribution | str | None = None,
    target: int | str | None = None,
    top_k: int = 5,
    max_rows: int | None = None,
    family: Family | None = None,
    model_arguments: Mapping[str, Any] | None = None,
) -> AnswerExplanation:
    """Explain an answer to a question about an image: a score for each box.

    Args:
        model: A model over boxes: UpDn, LXMERT, or one with a `RegionFamily`.
        question: The question.
        features: (objects, dims) numbers of the boxes.
        boxes: (objects, 4) xyxy in [0, 1].
        tokenizer: The model's tokenizer, or the `QuestionCollator` that it was trained with.
        answers: The answers that the classes stand for; None takes those of the collator, else ``config.id2label``.
        attribution: The method, or its name; None is `LeaveOneOut` with features of zeros: how much the logit falls without
            a box.
        target: The answer to explain, as text or number; None explains the most probable one.
        top_k: How many of the most probable answers are listed.
        max_rows: Copies of the boxes per call of the model; None calls it once on all.
        family: As for `explain`.
        model_arguments: As for `explain`.

    Raises:
        ValueError: Features or boxes of another shape, an unknown answer, several answers, a vocabulary of another size than
            the model's classes, a model that takes no boxes, a layer without boxes.

    Example:
        >>> features, boxes = regions["262148"]
        >>> found = explain_answer(model, "what is on the table", features, boxes, tokenizer, answers=vocabulary)
        >>> found.answer, found.box_scores.argmax()
        ('cake', 3)
        >>> found.save("cake.png", image="262148.jpg")
    """
    check_counts(top_k=top_k, max_rows=max_rows)
    collator = _collator(tokenizer)
    _check_answer(target, answers)
    net = plain_model(model)
    vocabulary = answers or collator.answers
    names = label_names(net) if vocabulary is None else list(vocabulary.answers)
    row = {"question": question, "question_id": "0", "features": features, "boxes": boxes}
    with quiet(net):  # collated inside, because tensors made under inference_mode cannot be differentiated
        batch = replace(collator, answers=None)([row])
        known = _family(net, family, model_arguments)
        columns = {name: batch[name].to(device_of(net)) for name in known.inputs if name in batch}
        method = method_of(attribution, known)
        done = explained_batch(net, known, columns, method, wanted_classes(target, None, 1, True, names), max_rows)
    if vocabulary is not None:
        _check_size(len(vocabulary.answers), done.logits.shape[1])
    scores = _named(probabilities(done.logits, net)[0], names)
    return _explanation(question, done, scores, top_k, batch["visual_pos"][0].numpy(), method)


def _explanation(
    question: str, done: ExplainedBatch, scores: list[tuple[str, float]], top_k: int, boxes: Floats, method: Attribution
) -> AnswerExplanation:
    if done.maps[0].shape != (len(boxes),):
        raise ValueError(
            f"{method_text(method)} gives {done.maps[0].shape} numbers and not one for each of {len(boxes)} boxes; choose a "
            "layer with boxes, as 'input'."
        )
    (number,) = done.classes[0]
    top = sorted(scores, key=lambda one: -one[1])[:top_k]
    logit = float(done.logits[0, number])
    return AnswerExplanation(question, number, *scores[number], logit, top, done.maps[0], boxes, method)


def _collator(tokenizer: Any) -> QuestionCollator:
    if isinstance(tokenizer, QuestionCollator):
        return tokenizer
    if not callable(tokenizer):
        raise ValueError(
            f"tokenizer is a {type(tokenizer).__name__}; give the model's tokenizer, as AutoTokenizer.from_pretrained(...), or "
            "its QuestionCollator."
        )
    return QuestionCollator(tokenizer)


def _check_answer(target: Any, answers: Any) -> None:
    if answers is not None and not isinstance(answers, AnswerVocabulary):
        raise ValueError(
            f"answers is a {type(answers).__name__}; give an AnswerVocabulary, as AnswerVocabulary(list(answers))."
        )
    if isinstance(target, list | tuple | set) or bool(getattr(target, "ndim", 0)):
        raise ValueError(
            f"target={target!r} are several answers; give one, as text or number, or None for the predicted one."
        )


def _check_size(answers: int, classes: int) -> None:
    if answers != classes:
        raise ValueError(
            f"the answers number {answers} and the model's classes {classes}; give the AnswerVocabulary that it was trained "
            "with."
        )


def _named(scores: Floats, names: list[str] | None) -> list[tuple[str, float]]:
    """Name and probability of every class."""
    known = dict(enumerate(names or []))
    return [(known.get(number, str(number)), float(score)) for number, score in enumerate(scores)]


def _family(net: nn.Module, given: Family | None, arguments: Mapping[str, Any] | None) -> Family:
    family = given or family_of(net)
    if family.images:
        raise ValueError(f"{type(net).__name__} takes images and no boxes; use explain.")
    return replace(family, arguments={**family.arguments, **(arguments or {})})
