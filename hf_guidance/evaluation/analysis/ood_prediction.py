"""How well in-distribution metrics of models predict accuracy under distribution shift, by cross-validated regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.common.progress import progress

_RRR = ("rrr_suff", "rrr_inv", "rrr_unc")
_EXPLANATION = ("plausibility", "sufficiency", "comprehensiveness")

PREDICTORS: Mapping[str, tuple[str, ...]] = {
    "RRR-Suff": ("rrr_suff",),
    "RRR-Inv": ("rrr_inv",),
    "RRR-Unc": ("rrr_unc",),
    "ID accuracy": ("accuracy",),
    "+ confidence": ("accuracy", "full_probability"),
    "+ explanation metrics": ("accuracy", *_EXPLANATION),
    "+ RRR metrics": ("accuracy", *_RRR),
    "all metrics": ("accuracy", "full_probability", *_EXPLANATION, *_RRR),
}
"""Sets of metrics to compare (arXiv 2206.11212, table 5); the metrics have the names of explanation_scores."""

_CHUNK = 1 << 20  # numbers in memory at a time


@dataclass(frozen=True)
class Correlation:
    """Pearson's correlation of predicted and true accuracy under shift, over random splits of the models.

    Attributes:
        train: Mean over splits, on the models that the regression was fitted to.
        test: Mean over splits, on the models that were left out.
        test_low: Lower end of the interval that holds ``level`` of the splits' test correlations, a quantile.
        test_high: Upper end of the interval.
        undefined: Number of splits without a correlation (constant predictions or accuracies), which are left out.
    """

    train: float
    test: float
    test_low: float
    test_high: float
    undefined: int


def predict_ood(
    metrics: Mapping[str, npt.ArrayLike],
    ood_accuracy: npt.ArrayLike,
    *,
    predictors: Mapping[str, Sequence[str]] = PREDICTORS,
    train_share: float = 0.9,
    splits: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Correlation]:
    """How well sets of metrics measured in distribution predict accuracy out of distribution (arXiv 2206.11212, table 5).

    For each random split, a linear regression with intercept is fitted to the accuracy of ``train_share`` of the models;
    its predictions are correlated with the truth on both parts. All sets see the same splits.

    Args:
        metrics: Metric name to its (models,) values in distribution.
        ood_accuracy: (models,) accuracy out of distribution.
        predictors: Name of a set of metrics to the names of these metrics.
        train_share: Share of the models that the regression is fitted to.
        splits: Number of random splits.
        level: Share of the splits that the interval holds.
        seed: Seed of the splits.

    Returns:
        Name of a set of metrics to its correlations.

    Raises:
        ValueError: Unknown metric, lengths that differ, NaN, fewer than 3 models to test, or a training part that has no
            more models than the regression has metrics and intercept.

    Example:
        >>> predict_ood(metrics, ood_accuracy)["ID accuracy"].test
    """
    truth = np.asarray(ood_accuracy, dtype=np.float64)
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in metrics.items()}
    train = round(train_share * len(truth)) if truth.ndim == 1 else 0
    _check(columns, truth, predictors, train)
    random = np.random.default_rng(seed)
    orders = random.permuted(np.tile(np.arange(len(truth)), (splits, 1)), axis=1)
    results = {}
    for name, used in progress(predictors.items(), "predicting accuracy under shift"):
        features = np.stack([columns[metric] for metric in used], axis=1)
        step = max(1, _CHUNK // (len(truth) * (len(used) + 1)))
        parts = [_correlations(features, truth, orders[i : i + step], train) for i in range(0, splits, step)]
        results[name] = _summary(np.concatenate(parts, axis=1), level)
    return results


def _correlations(features: Any, truth: Any, orders: Any, train: int) -> npt.NDArray[np.float64]:
    # (2, splits): on the fitted models, and on the others. Metrics are scaled first, because their ranges differ.
    spread = features.std(0)
    scaled = (features - features.mean(0)) / np.where(spread > 0, spread, 1)
    design = np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)
    fitted = orders[:, :train]
    weights = np.linalg.pinv(design[fitted], rcond=1e-10) @ truth[fitted][..., None]
    return np.stack([_pearson((design[part] @ weights)[..., 0], truth[part]) for part in (fitted, orders[:, train:])])


def _pearson(first: Any, second: Any) -> npt.NDArray[np.float64]:
    first, second = (values - values.mean(1, keepdims=True) for values in (first, second))
    norms = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    constant = norms <= 1e-12 * first.shape[1]  # constants, up to rounding
    return np.where(constant, np.nan, (first * second).sum(1) / np.where(constant, 1, norms))


def _summary(correlations: npt.NDArray[np.float64], level: float) -> Correlation:
    defined = ~np.isnan(correlations).any(0)
    if not defined.any():
        return Correlation(np.nan, np.nan, np.nan, np.nan, int(defined.size))
    train, test = correlations[:, defined]
    low, high = np.quantile(test, [(1 - level) / 2, (1 + level) / 2])
    undefined = int(defined.size - defined.sum())
    return Correlation(float(train.mean()), float(test.mean()), float(low), float(high), undefined)


def _check(columns: Any, truth: Any, predictors: Any, train: int) -> None:
    for name, used in predictors.items():
        unknown = [metric for metric in used if metric not in columns]
        if unknown or not used:
            raise ValueError(f"predictors[{name!r}] names {unknown or 'nothing'}; given metrics are {sorted(columns)}.")
        if train <= len(used) + 1:
            raise ValueError(f"{train} models to train for {len(used)} metrics and an intercept; give more models.")
    for name, column in {**columns, "ood_accuracy": truth}.items():
        if column.shape != (len(truth),) or not np.isfinite(column).all():
            raise ValueError(
                f"{name} has shape {column.shape}; allowed is ({len(truth)},), one finite number per model."
            )
    if len(truth) - train < 3:
        raise ValueError(f"{len(truth)} models leave {len(truth) - train} to test; at least 3 are needed.")
