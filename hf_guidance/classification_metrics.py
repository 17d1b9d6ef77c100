"""Classification metrics for ``Trainer(compute_metrics=...)``, by scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, f1_score


def micro_f1(logits: npt.ArrayLike, labels: npt.ArrayLike, threshold: float | npt.ArrayLike = 0.0) -> float:
    """F1 over all (image, class) decisions, positive where ``logit >= threshold`` (arXiv 2303.11932's code).

    Args:
        logits: (images, classes).
        labels: (images, classes) of zeros and ones.
        threshold: On the logits, one or one per class; 0 is probability 0.5.

    Returns:
        F1 in [0, 1]; 0 without any positive.
    """
    predictions = np.asarray(logits) >= np.asarray(threshold)
    return float(f1_score(np.asarray(labels, bool), predictions, average="micro", zero_division=0))


def mean_average_precision(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Average precision, macro over the classes with at least one positive.

    Args:
        logits: (images, classes).
        labels: (images, classes) of zeros and ones.

    Raises:
        ValueError: No class has a positive.
    """
    logits, labels = np.asarray(logits), np.asarray(labels, bool)
    present = labels.any(0)
    if not present.any():
        raise ValueError("no class has a positive label, so average precision is undefined; check the labels.")
    return float(average_precision_score(labels[:, present], logits[:, present], average="macro"))


def best_threshold(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """The logit threshold with the highest micro-F1 on held-in data, for models whose logits sink under guidance.

    Args:
        logits: (images, classes).
        labels: (images, classes) of zeros and ones.

    Returns:
        The middle of the best among 201 thresholds from the lowest to the highest logit: where the classes are apart, the
        middle of the gap.
    """
    candidates = np.linspace(np.min(logits), np.max(logits), 201)
    scores = np.array([micro_f1(logits, labels, candidate) for candidate in candidates])
    best = candidates[scores == scores.max()]
    return float((best.min() + best.max()) / 2)


def classification_metrics(problem_type: str) -> Callable[[Any], dict[str, float]]:
    """Make a ``compute_metrics``: accuracy for single-label tasks, micro-F1 and mAP for multi-label tasks.

    Args:
        problem_type: "single_label_classification" or "multi_label_classification".
    """

    def compute(prediction: Any) -> dict[str, float]:
        logits, labels = prediction.predictions, prediction.label_ids
        if problem_type == "single_label_classification":
            return {"accuracy": float((logits.argmax(-1) == labels).mean())}
        return {"f1": micro_f1(logits, labels), "map": mean_average_precision(logits, labels)}

    return compute
