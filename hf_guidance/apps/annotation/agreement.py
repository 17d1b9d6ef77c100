"""How far annotators agree, in the figures that are usual."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hf_guidance.apps.annotation.items.scale import YES_NO, Scale

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True)
class Agreement:
    """Figures of agreement.

    Attributes:
        kappa: Pair of annotators to Cohen's kappa over the images that both answered (1 is full agreement, 0 that of chance),
            with quadratic weights of ordinal answers; None where it is not defined: no image in common, or one word only.
        shared: Pair of annotators to the number of those images.
        alpha: Krippendorff's alpha of all annotators, of the level of the scale, with images that some left out; None where it
            is not defined: no image that two answered, or one word only.
    """

    kappa: Mapping[tuple[str, str], float | None]
    shared: Mapping[tuple[str, str], int]
    alpha: float | None


def agreement(answers: Mapping[str, Sequence[str | None]], scale: Scale = YES_NO) -> Agreement:
    """Figures of agreement of some annotators; "maybe" of yes and no counts as an answer of its own.

    Source: J. Cohen, "A coefficient of agreement for nominal scales", 1960, by scikit-learn; K. Krippendorff, "Content
    analysis", by the package krippendorff.

    Args:
        answers: Annotator to their answers, all of the same images in the same order, None where there is none.
        scale: The answers that there are.

    Returns:
        The figures.
    """
    from sklearn.metrics import cohen_kappa_score

    codes = {answer: code for code, answer in enumerate(scale.words)}
    table = {
        name: np.asarray([math.nan if word is None else codes[word] for word in given])
        for name, given in answers.items()
    }
    weights = "quadratic" if scale.level == "ordinal" else None
    kappa: dict[tuple[str, str], float | None] = {}
    shared: dict[tuple[str, str], int] = {}
    for pair in itertools.combinations(sorted(table), 2):
        first, second = (table[name] for name in pair)
        both = ~np.isnan(first) & ~np.isnan(second)
        shared[pair] = int(both.sum())
        words = np.unique(np.concatenate([first[both], second[both]]))
        labels = range(len(scale.words))  # all, for words are equally far apart whichever were said
        value = cohen_kappa_score(first[both], second[both], labels=labels, weights=weights) if len(words) > 1 else None
        kappa[pair] = None if value is None else float(value)
    return Agreement(kappa, shared, _alpha(list(table.values()), scale.level))


def _alpha(rows: list[np.ndarray], level: str) -> float | None:
    import krippendorff

    if len(rows) < 2:
        return None
    values = np.stack(rows)
    comparable = values[:, (~np.isnan(values)).sum(axis=0) > 1]
    if len(np.unique(comparable[~np.isnan(comparable)])) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(krippendorff.alpha(reliability_data=comparable, level_of_measurement=level))
