"""Labels that are not what the model's ``problem_type`` says, or that a TaskLoss cannot be trained with, are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from hf_guidance.objectives import Objective, TaskLoss


def refuse_regression(task: Objective, model: nn.Module) -> None:
    """Raise for a model of regression, which a TaskLoss would train as a classifier.

    Raises:
        ValueError: The model's ``problem_type`` is "regression", or unset with one label, which transformers takes for it.
    """
    problem, labels = _config(model, "problem_type"), _config(model, "num_labels")
    if _classifies(task) and (problem == "regression" or (problem is None and labels == 1)):
        raise ValueError(
            f"the model's problem_type is {problem!r} and its num_labels {labels}, which is regression, and the task of the "
            "guidance is a TaskLoss, which is of classes: override task_loss(self, forward) in a subclass of GuidedTrainer, to "
            "return for example F.mse_loss(forward.logits(), forward.column('labels'), reduction='none').mean(1), or give "
            "Guidance(task=...) an Objective. For one class that an image shows or not, set "
            "problem_type='multi_label_classification'."
        )


def refuse_multi_hot(task: Objective, model: nn.Module, labels: Any) -> None:
    """Raise for labels that TaskLoss would take for multi-hot ones, though the model has one label per image.

    Raises:
        ValueError: Floating-point labels or several per image, and the model's ``problem_type`` is
            "single_label_classification".
    """
    if labels is None or not _classifies(task) or _config(model, "problem_type") != "single_label_classification":
        return
    try:
        shape = tuple(np.shape(labels))
    except (ValueError, TypeError, RuntimeError):
        return  # lists of several lengths: the task says what it takes
    floating = "float" in str(getattr(labels, "dtype", ""))
    if floating or (len(shape) > 1 and shape[1] > 1):
        raise ValueError(
            f"labels have shape {shape}{' and are floating point' * floating}, which TaskLoss takes for multi-hot labels, but "
            "the model's problem_type is 'single_label_classification': give one integer per image, set "
            "problem_type='multi_label_classification', or write the loss of soft labels as an Objective and pass "
            "Guidance(task=...)."
        )


def _config(model: nn.Module, name: str) -> Any:
    return getattr(getattr(model, "config", None), name, None)


def _classifies(task: Objective) -> bool:
    """Whether the task is computed by TaskLoss itself, not by a subclass with a formula of its own."""
    return isinstance(task, TaskLoss) and type(task).__call__ is TaskLoss.__call__
