"""DFR: the last layer is fitted anew on rows of balanced groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hf_guidance.common.checks import check_count
from hf_guidance.training.baselines.method import Method
from hf_guidance.training.baselines.setting import Setting

_COLUMN = "group"
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class DFR(Method):
    """Deep feature reweighting: logistic regression with an L1 penalty on fixed features, as the new last layer.

    ``train()`` takes held-out rows with groups as ``train_dataset``. Features are read once, in eval mode, and standardised.
    For each of ``subsets`` draws, as many rows of every group as the smallest has are fitted; the weights are averaged over the
    draws and folded with the standardisation into the Linear layer: ``W = V / sd``, ``b = c - V (mean / sd)``. With several
    ``strengths`` the one with the best worst group is chosen first: fitted on a balanced half of the rows, judged on the other.

    Args:
        strengths: Values of C, the inverse of the penalty's weight, above 0; the official code's for Waterbirds.
        subsets: Balanced draws whose weights are averaged; 20 in the official code.
        standardise: Whether features are standardised, by the mean and deviation of all rows given. The official code takes
            those of the training set; the predictions differ by that scale of the penalty alone.
        head: Path of the Linear layer; the family's ``pooled_linear`` when None.

    Raises:
        ValueError: No strength, or one that is not above 0; ``subsets`` below 1. On training, rows without a group, a group
            without rows, a class without rows, a model whose last layer is not known, or several strengths with a group of
            fewer than two rows.

    Columns:
        group: One integer >= 0 per row; 2 * label + place for Waterbirds.

    When to use:
        A few held-out rows with known groups: features are often good, and the last layer alone relies on the shortcut.

    Reference:
        Kirichenko, Izmailov and Wilson, "Last Layer Re-Training is Sufficient for Robustness to Spurious Correlations", ICLR
        2023, arXiv 2204.02937; PolinaKirichenko/deep_feature_reweighting@46666e6, the form "DFR on validation".

    Example:
        >>> from hf_guidance.training.baselines import DFR
        >>> method = DFR(strengths=(1.0, 0.1, 0.01))
    """

    fits: ClassVar[bool] = True

    strengths: tuple[float, ...] = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
    subsets: int = 20
    standardise: bool = True
    head: str | None = None

    def __post_init__(self) -> None:
        if not self.strengths or any(not strength > 0 for strength in self.strengths):
            raise ValueError(
                f"DFR(strengths={self.strengths!r}): give at least one number, each above 0, such as (1.0,)."
            )
        check_count("subsets", self.subsets, self)

    def fit(self, setting: Setting) -> dict[str, float]:
        """Replace the weights of the last layer; the metrics say which strength, and how many rows of each group."""
        _, layer = setting.main.head(self.head)
        groups = setting.groups(_COLUMN, "DFR").numpy()
        found, labels = setting.features("DFR: features", head=self.head)
        features, classes = found.double().numpy(), labels.numpy()
        if missing := sorted(set(range(layer.out_features)) - set(classes.tolist())):
            raise ValueError(f"DFR: the classes {missing} have no row; give held-out rows of every class.")
        mean, scale = np.zeros(features.shape[1]), np.ones(features.shape[1])
        if self.standardise:
            mean, spread = features.mean(0), features.std(0)
            scale = np.where(spread > 0, spread, 1.0)  # a feature that never differs stays as it is
        scaled, generator = (features - mean) / scale, np.random.default_rng(setting.seed)
        strength = self._chosen(scaled, classes, groups, generator)
        draws = (balanced(groups, generator) for _ in range(self.subsets))
        fits = [fitted(scaled[rows], classes[rows], strength, setting.seed) for rows in draws]
        weight, bias = (np.mean(parts, axis=0) for parts in zip(*fits, strict=True))
        folded = weight / scale
        _replace(layer, folded, bias - folded @ mean)
        return {"dfr_strength": strength, "dfr_rows_of_a_group": float(np.bincount(groups).min())}

    def _chosen(self, features: Array, labels: Array, groups: Array, generator: np.random.Generator) -> float:
        if len(self.strengths) == 1:
            return self.strengths[0]
        fit, held = halves(groups, generator)
        rows = fit[balanced(groups[fit], generator)]
        worst: dict[float, float] = {}
        for strength in self.strengths:
            weight, bias = fitted(features[rows], labels[rows], strength, int(generator.integers(2**31)))
            right = (features[held] @ weight.T + bias).argmax(1) == labels[held]
            worst[strength] = min(right[groups[held] == group].mean() for group in np.unique(groups))
        return max(worst, key=worst.__getitem__)


def balanced(groups: Array, generator: np.random.Generator) -> Array:
    """As many rows of every group as the smallest has, drawn without replacement: their indices, sorted by group."""
    counts = np.bincount(groups)
    rows = [generator.permutation(np.flatnonzero(groups == group))[: counts.min()] for group in range(len(counts))]
    return np.concatenate(rows)


def halves(groups: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """Two halves of the rows, group by group, so that each has rows of every group.

    Raises:
        ValueError: A group has fewer than two rows.
    """
    counts = np.bincount(groups)
    if counts.min() < 2:
        raise ValueError(
            f"DFR: the groups have {counts.tolist()} rows, and choosing among several strengths takes two of each. Give "
            "strengths=(1.0,), or more rows."
        )
    mixed = [generator.permutation(np.flatnonzero(groups == group)) for group in range(len(counts))]
    return np.concatenate([rows[::2] for rows in mixed]), np.concatenate([rows[1::2] for rows in mixed])


def fitted(features: Array, labels: Array, strength: float, seed: int) -> tuple[Array, Array]:
    """Weights (classes, features) and biases (classes,) of a logistic regression with an L1 penalty.

    Args:
        features: (rows, features) floats.
        labels: (rows,) integers from 0 on, every class at least once.
        strength: C of scikit-learn, the inverse of the penalty's weight.
        seed: Of the solver.
    """
    from sklearn.linear_model import LogisticRegression  # imported here: it is slow to import and rarely needed

    two = len(np.unique(labels)) == 2
    # liblinear, as in the official code, is of two classes; saga solves the same problem for more.
    options: Mapping[str, Any] = {"solver": "liblinear"} if two else {"solver": "saga", "max_iter": 5000}
    penalty = {"penalty": "l1"} if _takes_penalty(LogisticRegression) else {"l1_ratio": 1.0}
    model = LogisticRegression(C=strength, random_state=seed, **penalty, **options).fit(features, labels)
    weight, bias = model.coef_, model.intercept_
    if two:  # one row for the second class; halved, the difference of two logits is what it was
        return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias


def _takes_penalty(kind: Any) -> bool:
    return bool(kind().penalty != "deprecated")  # scikit-learn 1.8 says it by l1_ratio


def _replace(layer: nn.Linear, weight: Array, bias: Array) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros_like(layer.weight[:, 0]))
        layer.bias.copy_(torch.from_numpy(bias))
