"""The column ``labels`` as task losses read it: checked, in one of two forms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hf_guidance.common.deferred_checks import defers_check

_ROUNDING = 1e-6  # mixed labels may exceed 1 by it


def checked_labels(labels: Any, logits: Tensor) -> Tensor:
    """Bring labels to the form that their shape says.

    Args:
        labels: A tensor, an array or a list, of any dtype: classes (images,) or (images, 1), or a value for every class,
            (images, classes).
        logits: (images, classes).

    Returns:
        (images,) int64 in [0, classes), or (images, classes) of the dtype of the logits, in [0, 1].

    Raises:
        ValueError: Another shape, a class that the model has not (as -100 and -1, by which text models and test sets mark what
            has no label), values outside [0, 1], or classes in floating point. Values on a CUDA device are judged
            there: a RuntimeError, for a step does not wait for them.
    """
    try:
        found = torch.as_tensor(labels, device=logits.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"labels are a {type(labels).__name__} that is no tensor: {error}; give numbers.") from error
    if logits.dim() != 2:
        raise ValueError(
            f"the logits have shape {tuple(logits.shape)}, and one of (images, classes) is needed: for captions, whose logits "
            "are (images, times, vocabulary), give Guidance(task=CaptionLoss(), ...)."
        )
    images, classes = logits.shape
    if found.shape == logits.shape:
        soft = found.to(logits.dtype)
        inside = (soft >= -_ROUNDING) & (soft <= 1 + _ROUNDING)  # NaN is not
        _refuse(found, ~inside, "values for every class lie in [0, 1]; for regression override task_loss")
        return soft
    if found.shape not in ((images,), (images, 1)) or found.is_floating_point():
        raise ValueError(
            f"labels have shape {tuple(found.shape)} and dtype {found.dtype}, the logits {tuple(logits.shape)}: give one class "
            "per image, integers (images,), or a value in [0, 1] for every class, (images, classes). For other labels, as of "
            "regression, override task_loss, or give Guidance(task=...) an Objective."
        )
    chosen = found.reshape(images).long()
    wrong = (chosen < 0) | (chosen >= classes)
    later = _refuse(found, wrong, f"classes are 0 to {classes - 1}; leave out images without a label")
    return chosen.masked_fill(wrong, 0) if later else chosen  # else indexing by them fails before anyone is told


def _refuse(labels: Tensor, wrong: Tensor, allowed: str) -> bool:
    """Raise where labels are wrong; whether that is left for later, behind the graph in which they are read."""
    text = f"labels hold a value that is not allowed: {allowed}."
    if defers_check(wrong, text):
        return True
    if wrong.device.type == "cuda":  # a step does not wait for the device, which ends the run itself
        torch._assert_async(~wrong.any(), text)
    elif wrong.any():
        first = labels.reshape(wrong.shape)[wrong][0]
        raise ValueError(f"labels hold {first}, in {int(wrong.sum())} places: {allowed}.")
    return False
