"""TaskLoss: the classification loss, per image."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.forward import Forward
from hf_guidance.forward.maps import full_precision
from hf_guidance.objectives.labels import checked_labels
from hf_guidance.objectives.objective import Objective
from hf_guidance.views import FULL, Needs
from hf_guidance.views.layers import LOGITS


@dataclass(frozen=True)
class TaskLoss(Objective):
    """Cross-entropy for classes (images,), mean binary cross-entropy for multi-hot labels (images, classes).

    ``L = -log softmax(f(x))[y]`` for a class y, ``L = mean_c BCE(sigmoid(f(x)_c), y_c)`` for multi-hot y. The shape of the
    column ``labels`` decides which; the collator chooses it by the model's ``problem_type``. Every image
    counts, annotated or not. The mean over images equals the loss of transformers' image classification heads.

    With class weights w the loss of image i is ``w[y_i] * -log softmax(f(x_i))[y_i]``, what torch's cross_entropy gives with
    ``weight=w, reduction="none"``, label smoothing included. The term "task" sums it over the images of an update and divides
    by their number, in training and in evaluation: the same under gradient accumulation and on several processes. torch's
    mean divides by the summed weights of the batch instead, and depends on the split; the two agree on average where the mean
    weight of a training image is 1, as with the weights of the example.

    A subclass with another loss of one label overrides ``class_losses``; smoothing and weights are applied to it. One that
    overrides ``__call__`` applies them itself.

    Args:
        label_smoothing: Share of the target spread over all classes, in [0, 1); single-label only.
        class_weights: One weight per class, finite and >= 0, in the order of the logits; single-label only. A list or an
            array of one axis becomes a tuple.

    Raises:
        ValueError: ``label_smoothing`` outside [0, 1); ``class_weights`` that are not such numbers, or all 0; either of them in
            a subclass whose ``__call__`` would ignore it. On call, either of them, or another ``class_losses``, with multi-hot
            labels; another number of weights than the model has classes; labels that ``checked_labels`` refuses.

    Columns:
        labels: (images,) or (images, 1) integers in [0, classes), or (images, classes) in [0, 1], multi-hot.

    When to use:
        The term "task" of image classification with one or several labels, and what Guidance adds where no "task" is given.
        Prefer AnswerLoss for visual question answering.

    Reference:
        Rao, Böhle, Parchami-Araghi and Schiele, "Studying How to Efficiently and Effectively Guide Models with
        Explanations" (first version: "Using Explanations to Guide Models"), ICCV 2023, arXiv 2303.11932, L_class of eq. 1,
        which is the multi-hot form.

    Example:
        >>> import numpy as np
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.attributions import GradCAM
        >>> from hf_guidance.objectives import Energy, TaskLoss
        >>> count = np.bincount([0, 0, 0, 1], minlength=2).clip(1)  # of the training labels; a class may have no image
        >>> balanced = TaskLoss(class_weights=count.sum() / (len(count) * count))  # a rare class counts more
        >>> guidance = Guidance(task=balanced, energy=Energy(GradCAM()))
        >>> balanced.class_weights
        (0.6666666666666666, 2.0)
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing={self.label_smoothing} is outside [0, 1).")
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", _checked(self.class_weights))
        if type(self).__call__ is not TaskLoss.__call__:
            refuse_ignored(self, type(self).__call__, type(self), TaskLoss)

    def needs(self) -> Needs:
        """The logits of the full input."""
        return Needs([(FULL, LOGITS)])

    def rows(self, forward: Forward) -> Tensor:
        """Every image counts once."""
        return torch.ones(forward.images, device=forward.logits().device)

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every image, (images,)."""
        logits = full_precision(forward.logits())
        labels = checked_labels(forward.column("labels"), logits)
        if labels.dim() == 2:
            self._refuse_multi_hot()
            return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
        weights, losses = self._weights(logits), self.class_losses(logits)
        losses = losses if weights is None else losses * weights
        values = losses.gather(1, labels[:, None])[:, 0]
        if not self.label_smoothing:
            return values
        share = self.label_smoothing / losses.shape[1]
        return (1 - self.label_smoothing) * values + share * losses.sum(1)

    def class_losses(self, logits: Tensor) -> Tensor:
        """The loss that each image would have with each class as its label: (images, classes) to (images, classes)."""
        return -logits.log_softmax(1)

    def _weights(self, logits: Tensor) -> Tensor | None:
        if self.class_weights is None:
            return None
        if len(self.class_weights) != logits.shape[-1]:
            raise ValueError(
                f"TaskLoss has {len(self.class_weights)} class_weights, but the model has {logits.shape[-1]} classes: give one "
                "weight per class, in the order of config.id2label."
            )
        return logits.new_tensor(self.class_weights)

    def _refuse_multi_hot(self) -> None:
        if type(self).class_losses is not TaskLoss.class_losses:
            raise ValueError(
                f"{type(self).__name__}.class_losses is the loss of one label per image, and labels are multi-hot: write the "
                "loss as an Objective, and pass Guidance(task=...)."
            )
        if self.label_smoothing:
            raise ValueError(
                f"label_smoothing={self.label_smoothing} with multi-hot labels: only one label per image (single-label "
                "classification) can be smoothed; set label_smoothing_factor=0, or give TaskLoss() without it."
            )
        if self.class_weights is not None:
            raise ValueError(
                "class_weights with multi-hot labels could mean the weight of a class or of its positives (pos_weight of "
                "torch.nn.BCEWithLogitsLoss), so only one label per image can be weighted; write the loss as an Objective, and "
                "pass Guidance(task=...)."
            )


def refuse_ignored(task: TaskLoss, method: Callable[..., Tensor], owner: type, base: type) -> None:
    """Raise where a method that computes the loss in a task's place would ignore its label smoothing or class weights.

    Args:
        task: The task.
        method: The function; one that calls super(), another method of ``owner`` or a function that it wraps, or names the
            field, is taken to apply it.
        owner: The class whose method it is.
        base: The class of the library whose method it overrides; to call other methods of this one tells nothing.

    Raises:
        ValueError: The field, and how to have it applied.
    """
    method = inspect.unwrap(method)
    if not inspect.isfunction(method) or any(
        map(inspect.isfunction, inspect.getclosurevars(method).nonlocals.values())
    ):
        return  # it cannot be looked into
    named = _names(method.__code__)
    known = {"super", "__call__", method.__name__, *(name for name in named if _own_method(name, owner, base))}
    for field in ("label_smoothing", "class_weights"):
        if getattr(task, field) and not named & {*known, field}:
            raise ValueError(
                f"{field}={getattr(task, field)} would have no effect: {method.__qualname__} computes the loss without it. "
                f"Override class_losses(self, logits) of TaskLoss in its place, to which it is applied, or leave {field} (and "
                "label_smoothing_factor of the arguments) out and apply it there."
            )


def _names(code: CodeType) -> set[str]:
    # Comprehensions and inner functions are code of their own.
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def _own_method(name: str, owner: type, base: type) -> bool:
    found = getattr(owner, name, None)
    return hasattr(found, "__get__") and found is not getattr(base, name, None)  # methods and properties, not fields


def _checked(given: Any) -> tuple[float, ...]:
    told = f"TaskLoss(class_weights={given!r}): "
    if isinstance(given, str | bytes | dict | set | frozenset) or not hasattr(given, "__iter__"):
        raise ValueError(f"{told}give one number per class in the order of the logits, as a tuple, a list or an array.")
    try:
        weights = tuple(float(weight) for weight in given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{told}give numbers, one per class: {error}.") from error
    if wrong := [weight for weight in weights if not (math.isfinite(weight) and weight >= 0)]:
        raise ValueError(
            f"{told}{wrong[0]} is not finite and >= 0; a class without images has no weight to count: give it 0 or 1."
        )
    if not any(weights):
        raise ValueError(f"{told}no weight is above 0, so that nothing would be learned.")
    return weights
