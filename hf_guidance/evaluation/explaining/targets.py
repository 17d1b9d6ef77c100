"""Which classes are explained: as they are asked for, by number, name or rank, and as numbers once the logits are there."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.common.checks import check_choice

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


@dataclass(frozen=True)
class Rank:
    """The class whose logit is the highest but ``rank``."""

    rank: int


Wanted = int | Rank


def wanted_classes(
    target: Any, top_k: int | None, images: int, single: bool, labels: Sequence[str] | None
) -> list[list[Wanted]]:
    """For every image the classes that are asked for.

    Args:
        target: None, a class, or one entry per image: a class, None, or a list of them. For a single image a list holds its
            classes. A class is a number or a label's name.
        top_k: The number of predicted classes to explain instead; None where ``target`` says which.
        images: Number of images.
        single: Whether one image was given, not in a list.
        labels: Names of the classes; None if the model has none.

    Raises:
        ValueError: An unknown name, another type, another number of entries, or both ``target`` and ``top_k``.
    """
    if top_k is not None:
        if target is not None or isinstance(top_k, bool) or not isinstance(top_k, Integral) or top_k < 1:
            raise ValueError(
                f"top_k={top_k!r} with target={target!r}; give a whole number of at least 1 and no target, or a target alone."
            )
        return [[Rank(rank) for rank in range(top_k)]] * images
    if hasattr(target, "tolist"):
        target = target.tolist()
    if not isinstance(target, list | tuple):
        return [[_class(target, labels)]] * images
    entries = [list(target)] if single else list(target)
    if len(entries) != images:
        raise ValueError(
            f"target has {len(entries)} entries and there are {images} images; give one class for all, or a list of one entry "
            "per image (several classes of an image are a list in that list)."
        )
    found = [
        [_class(value, labels) for value in (entry if isinstance(entry, list | tuple) else [entry])]
        for entry in entries
    ]
    if not all(found):
        raise ValueError(f"target has no class for image {found.index([])}; give one, or None for the predicted one.")
    return found


def _class(value: Any, labels: Sequence[str] | None) -> Wanted:
    if value is None:
        return Rank(0)
    if isinstance(value, str):
        numbers = [number for number, label in enumerate(labels or ()) if label == value]
        if len(numbers) > 1:
            raise ValueError(
                f"target={value!r} is the label of several classes of this model, {numbers}; give a number."
            )
        if numbers:
            return numbers[0]
        close = difflib.get_close_matches(value, labels or [], n=5, cutoff=0.4)
        known = f"the nearest labels are {close}" if close else f"the labels begin {list(labels or [])[:5]}"
        raise ValueError(f"target={value!r} is no label of this model; {known}.")
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"target={value!r}: give the number of a class, from 0, the name of a label, or None.")
    return number


def chosen_classes(wanted: Sequence[Sequence[Wanted]], logits: npt.NDArray[np.floating]) -> list[list[int]]:
    """The numbers of the classes, image by image.

    Args:
        wanted: Of ``wanted_classes``.
        logits: (images, classes).

    Raises:
        ValueError: A class that the model does not have, or logits that are NaN or infinite. Single classes of an image may
            have the logit -inf, as those have that a model leaves out.
    """
    wrong = np.isnan(logits).any(1) | np.isposinf(logits).any(1) | ~np.isfinite(logits).any(1)
    if wrong.any():
        raise ValueError(
            f"the model's logits are NaN or infinite for {int(wrong.sum())} of {len(logits)} images: there is nothing to "
            "explain. Has it diverged, or overflowed in float16?"
        )
    check_classes(wanted, logits.shape[1])
    ranked = np.argsort(-logits, axis=1, kind="stable")
    return [
        [int(order[choice.rank]) if isinstance(choice, Rank) else choice for choice in image]
        for image, order in zip(wanted, ranked, strict=True)
    ]


def check_classes(wanted: Iterable[Iterable[Wanted]], classes: int) -> None:
    """Raise for a class or a rank that the model does not have.

    Raises:
        ValueError: There is one.
    """
    for choice in {choice for image in wanted for choice in image}:
        if (choice.rank if isinstance(choice, Rank) else choice) >= classes:
            asked = f"top_k={choice.rank + 1}" if isinstance(choice, Rank) else f"target={choice}"
            raise ValueError(f"{asked}, and the model has {classes} classes; they are numbered from 0.")


def label_names(model: Any) -> list[str] | None:
    """The names of a model's classes, ``config.id2label`` in order; None if it has none, or has numbers missing."""
    names = getattr(getattr(model, "config", None), "id2label", None)
    if not isinstance(names, Mapping) or not names:
        return None
    by_number = {int(number): str(name) for number, name in names.items()}
    return (
        [by_number[number] for number in range(len(by_number))]
        if set(by_number) == set(range(len(by_number)))
        else None
    )


def probabilities(logits: npt.NDArray[np.floating], model: Any) -> npt.NDArray[np.floating]:
    """The scores of the classes, as transformers' pipelines give them.

    By ``config.problem_type``: sigmoid for several labels (and where there is one class), the logits themselves for
    regression, else softmax. UpDn trained with ``answer_loss="sigmoid"`` counts as several labels.

    Args:
        logits: (images, classes).
        model: The model.
    """
    config = getattr(model, "config", None)
    kind = getattr(config, "problem_type", None)
    if kind is not None:
        check_choice("config.problem_type", kind, PROBLEM_TYPES)
    if kind == "regression":
        return logits
    several = kind == "multi_label_classification" or getattr(config, "answer_loss", None) == "sigmoid"
    if several or logits.shape[1] == 1:
        sigmoid: npt.NDArray[np.floating] = np.exp(-np.logaddexp(0, -logits))
        return sigmoid
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    softmax: npt.NDArray[np.floating] = shifted / shifted.sum(1, keepdims=True)
    return softmax
