"""The class that ``hf-guidance explain --target`` names: a number or a label, checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from hf_guidance.apps.cli.application import given_by, refuse
from hf_guidance.evaluation.explaining.targets import check_classes, wanted_classes

_MOST_CLASSES = 100  # panels side by side: a PNG has at most 65,535 pixels in a line


def target_of(text: str | None, labels: Sequence[str] | None) -> int | str | None:
    """What was meant: digits are the number of a class, all else is a label; "number:1" and "label:1" say which.

    Args:
        text: As given; None for the predicted class.
        labels: Names of the classes; None if the model has none.

    Returns:
        A number, a label, or None.

    Raises:
        typer.BadParameter: Digits that are the number of one class and the label of another.
    """
    if text is None or (text in (labels or ()) and not text.isdecimal()):
        return text
    kind, colon, named = text.partition(":")
    if colon and kind == "label":
        return named
    if colon and kind == "number" and named.isdecimal():
        return int(named)
    if not text.isdecimal():
        return text
    if text in (labels or ()) and [int(text)] != [at for at, label in enumerate(labels or ()) if label == text]:
        refuse(
            f"{text!r} is the number of a class and the label of another, class {list(labels or ()).index(text)}; give "
            f"number:{text} or label:{text}.",
            "--target",
        )
    return int(text)


def check_target(target: int | str | None, top_k: int | None, labels: Sequence[str] | None) -> None:
    """Refuse a class, or a number of classes, that a model does not have.

    Args:
        target: Of ``target_of``.
        top_k: How many of the highest classes are explained instead.
        labels: Names of the classes; None if the model has none, and then numbers are not checked here.

    Raises:
        typer.BadParameter: There is no such class.
    """
    if top_k is not None and top_k > _MOST_CLASSES:
        refuse(f"{top_k} classes do not fit into a picture, which holds {_MOST_CLASSES}.", "--top-k")
    with given_by("--target" if top_k is None else "--top-k"):
        wanted = wanted_classes(target, top_k, 1, True, labels)
        if labels is not None:
            check_classes([wanted[0][-1:]], len(labels))  # the class, or the last rank
