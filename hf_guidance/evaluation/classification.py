"""Classification metrics for ``Trainer(compute_metrics=...)``: micro-averaged scores and average precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from hf_guidance.common.checks import check_choice
from hf_guidance.data.images.labels import PROBLEM_TYPES
from hf_guidance.evaluation.metric_modules import metric_path


def micro_scores(
    logits: npt.ArrayLike, labels: npt.ArrayLike, threshold: float | npt.ArrayLike = 0.0
) -> dict[str, float]:
    """Scores over all (image, class) decisions, positive where ``logit >= threshold`` (arXiv 2303.11932's code).

    Args:
        logits: (images, classes).
        labels: (images, classes) of zeros and ones.
        threshold: Threshold on the logits, one number or one per class; 0 is probability 0.5.

    Returns:
        "accuracy", "precision", "recall", "f1" in [0, 1]; a score whose denominator is 0 is 0.

    Raises:
        ValueError: The shapes differ, the arrays are empty, a logit is NaN, or a label is neither 0 nor 1.

    Example:
        >>> micro_scores([[2.0, -1.0], [0.5, 0.3]], [[1, 0], [0, 1]])["recall"]
        1.0
    """
    values, truth = _checked(logits, labels)
    chosen = values >= np.asarray(threshold)
    right, positives, actual = (int(np.count_nonzero(array)) for array in (chosen & truth, chosen, truth))
    return {
        "accuracy": float(np.mean(chosen == truth)),
        "precision": right / max(positives, 1),
        "recall": right / max(actual, 1),
        "f1": 2 * right / max(positives + actual, 1),
    }


def micro_f1(logits: npt.ArrayLike, labels: npt.ArrayLike, threshold: float | npt.ArrayLike = 0.0) -> float:
    """F1 over all (image, class) decisions; see ``micro_scores``.

    Args:
        logits: (images, classes).
        labels: (images, classes) of zeros and ones.
        threshold: Threshold on the logits, one number or one per class; 0 is probability 0.5.

    Returns:
        F1 in [0, 1]; 0 where neither a decision nor a label is positive.

    Raises:
        ValueError: As for ``micro_scores``.
    """
    return micro_scores(logits, labels, threshold)["f1"]


def average_precisions(
    logits: npt.ArrayLike, labels: npt.ArrayLike, interpolation: str = "none"
) -> npt.NDArray[np.float64]:
    """Average precision of each class, NaN for classes without a positive label.

    Args:
        logits: (images, classes).
        labels: (images, classes) of zeros and ones.
        interpolation: "none" for the area below the steps of precision over recall, or "eleven_point" for the mean over
            the recalls 0, 0.1, .., 1 of the highest precision at that recall or above (PASCAL VOC 2007); equal logits are
            then ranked in the order of the images.

    Returns:
        (classes,).

    Raises:
        ValueError: As for ``micro_scores``, or an unknown interpolation.
    """
    values, truth = _checked(logits, labels)
    if interpolation not in ("none", "eleven_point"):
        raise ValueError(f"interpolation={interpolation!r}; choose 'none' or 'eleven_point'.")
    if interpolation == "eleven_point":
        return _eleven_point(values, truth)
    found = np.full(truth.shape[1], np.nan)
    for column in np.flatnonzero(truth.any(0)):
        found[column] = average_precision_score(truth[:, column], values[:, column])
    return found


def mean_average_precision(logits: npt.ArrayLike, labels: npt.ArrayLike, interpolation: str = "none") -> float:
    """Mean average precision over the classes with at least one positive label.

    Args:
        logits: (images, classes).
        labels: (images, classes) of zeros and ones.
        interpolation: As for ``average_precisions``.

    Raises:
        ValueError: No class has a positive, or as for ``average_precisions``.
    """
    each = average_precisions(logits, labels, interpolation)
    if np.isnan(each).all():
        raise ValueError("no class has a positive label, so average precision is undefined; check the labels.")
    return float(np.nanmean(each))


def _eleven_point(logits: npt.NDArray[Any], labels: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    ranked = np.take_along_axis(labels, np.argsort(-logits, axis=0, kind="stable"), axis=0)
    hits = np.cumsum(ranked, axis=0)
    precision = hits / np.arange(1, len(hits) + 1)[:, None]
    from_here_on = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    # The rank at which each recall is reached. Compared in whole numbers: with floats, rounding may put 3 of 10 below 0.3.
    first = (10 * hits >= np.arange(11)[:, None, None] * hits[-1]).argmax(1)
    return np.asarray(np.where(labels.any(0), np.take_along_axis(from_here_on, first, axis=0).mean(0), np.nan))


def best_threshold(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """The logit threshold with the highest micro-F1 on the given data, for models whose logits sink under guidance.

    Args:
        logits: (images, classes).
        labels: (images, classes) of zeros and ones.

    Returns:
        The middle between the smallest and the largest of the best, among 201 evenly spaced thresholds from the lowest to
        the highest logit. Where the logits separate the labels, this is the middle of the gap.

    Raises:
        ValueError: As for ``micro_scores``.
    """
    values, truth = _checked(logits, labels)
    candidates = np.linspace(np.min(values), np.max(values), 201)
    scores = np.array([micro_f1(values, truth, candidate) for candidate in candidates])
    best = candidates[scores == scores.max()]
    return float((best.min() + best.max()) / 2)


def classification_metrics(
    problem_type: str, group: str | None = None, train_group_counts: Mapping[Any, float] | None = None
) -> ClassificationMetrics:
    """Make a ``compute_metrics``: accuracy for single-label tasks, micro-F1 and mAP for multi-label tasks.

    mAP is NaN where no image has a label, so that evaluating such a split does not end training.
    ``ParetoCheckpoints(metrics=("eval_map", ...))`` then logs a warning and keeps no model of that evaluation.

    Args:
        problem_type: "single_label_classification" or "multi_label_classification".
        group: Column of the evaluated rows with the subgroup of each, numbers or text, for single-label tasks: adds
            "worst_group_accuracy" and "mean_group_accuracy". GuidedTrainer hands the column over.
        train_group_counts: ``{group: training rows}``; adds "adjusted_accuracy", the groups weighted by it.

    Raises:
        ValueError: Unknown problem type; ``group`` with a multi-label task; ``train_group_counts`` without ``group``. On call,
            the column was not handed over, or predictions or labels have another shape.

    Example:
        >>> args = GuidanceArguments(..., eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True,
        ...                          metric_for_best_model="eval_worst_group_accuracy")
        >>> metrics = classification_metrics("single_label_classification", group="group")
        >>> trainer = GuidedTrainer(model, args, compute_metrics=metrics, ...)
    """
    return ClassificationMetrics(problem_type, group, train_group_counts)


@dataclass(frozen=True)
class ClassificationMetrics:
    """A ``compute_metrics``; see ``classification_metrics``."""

    problem_type: str
    group: str | None = None
    train_group_counts: Mapping[Any, float] | None = None

    def __post_init__(self) -> None:
        check_choice("problem_type", self.problem_type, PROBLEM_TYPES)
        if self.group is not None and self.problem_type != "single_label_classification":
            raise ValueError(
                f"group={self.group!r} with {self.problem_type}: group accuracy needs one label per image; leave group out, or "
                "compute the groups' F1 in a function of your own, which include_for_metrics=[...] gives any column."
            )
        if self.group is None and self.train_group_counts is not None:
            raise ValueError("train_group_counts weights groups; name their column too, for example group='group'.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the evaluated rows that are read; GuidedTrainer hands them over."""
        return () if self.group is None else (self.group,)

    def __call__(self, prediction: Any) -> dict[str, float]:
        """Metrics of an EvalPrediction."""
        logits, labels = prediction.predictions, prediction.label_ids
        if self.problem_type == "single_label_classification":
            labels = _one_per_image(logits, labels)
            predicted = logits.argmax(-1)
            return {"accuracy": float((predicted == labels).mean())} | self._of_groups(prediction, predicted, labels)
        f1 = micro_f1(logits, labels)  # first: it judges the shapes
        return {"f1": f1, "map": mean_average_precision(logits, labels) if np.any(labels) else float("nan")}

    def _of_groups(self, prediction: Any, predicted: npt.NDArray[Any], labels: npt.NDArray[Any]) -> dict[str, float]:
        if self.group is None:
            return {}
        inputs = getattr(prediction, "inputs", None)
        if not isinstance(inputs, Mapping) or self.group not in inputs:
            raise ValueError(
                f"the column {self.group!r} was not handed over: prediction.inputs is a {type(inputs).__name__}. GuidedTrainer "
                "hands it over with this object as compute_metrics; inside a function of your own, set "
                f"include_for_metrics=[{self.group!r}]."
            )
        import evaluate  # imported here: it takes seconds, and only groups need it

        metric = evaluate.load(metric_path("group_accuracy"), keep_in_memory=True)
        counts = self.train_group_counts
        found = metric.compute(
            predictions=predicted, references=labels, groups=inputs[self.group], train_group_counts=counts
        )
        names = ("worst_group_accuracy", "mean_group_accuracy", *([] if counts is None else ["adjusted_accuracy"]))
        return {name: float(found[name]) for name in names}


def _shape(values: Any) -> tuple[Any, ...]:
    # Several outputs or label_names are a tuple of arrays, and have a shape each.
    return tuple(map(_shape, values)) if isinstance(values, tuple) else np.shape(values)


def _one_per_image(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    shapes = _shape(logits), _shape(labels)
    several = isinstance(logits, tuple) or isinstance(labels, tuple)
    if several or len(shapes[0]) != 2 or shapes[1] not in (shapes[0][:1], (*shapes[0][:1], 1)):
        raise ValueError(
            f"predictions have shape {shapes[0]}, labels {shapes[1]}; give logits as (images, classes), without "
            "preprocess_logits_for_metrics, and one label per image."
        )
    return labels.reshape(-1)


def _checked(logits: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    try:
        values, truth = np.asarray(logits), np.asarray(labels)
    except ValueError as error:
        raise ValueError(f"logits or labels are no array: {error}; give both as (images, classes).") from error
    if values.ndim != 2 or values.shape != truth.shape or not values.size:
        raise ValueError(
            f"logits have shape {values.shape}, labels {truth.shape}; give both as (images, classes), at least one of each."
        )
    if np.isnan(values).any():
        raise ValueError(f"{np.isnan(values).sum()} of {values.size} logits are NaN: the model has diverged.")
    if truth.dtype != bool and not np.isin(truth, (0, 1)).all():
        raise ValueError(
            "labels hold values other than 0 and 1; give one column per class, 1 where the image shows it."
        )
    return values, truth.astype(bool)
