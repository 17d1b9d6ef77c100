"""The scores of every data point: accuracy, right for the right reason, faithfulness, plausibility."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from torch import Tensor, nn

from hf_guidance.attributions import Attribution
from hf_guidance.common.progress import progress
from hf_guidance.evaluation.scores.edited import EditedInputs
from hf_guidance.evaluation.top_boxes import overlap
from hf_guidance.families import Family
from hf_guidance.views import Replace, negative_ones

_WITHOUT_IMPORTANT_BOX = ("rrr_suff", "rrr_unc", "rrr_inv", "top_box_iou")  # undefined without one


def explanation_scores(
    model: nn.Module,
    family: Family,
    batches: Iterable[Mapping[str, Any]],
    *,
    attribution: Attribution,
    threshold: float,
    levels: Sequence[float] = (0.1, 0.25, 0.5),
    inv_draws: int = 3,
    replace: Replace = negative_ones,
    official: bool = False,
    max_rows: int | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Run a model on the boxes important to people, on its top boxes, and on the others (arXiv 2206.11212, section 5).

    With e the important boxes, u the others, y the class predicted on the input x and top the `top_boxes` of a level:
    ``rrr_suff`` is the answer score on x_e, ``rrr_unc`` the largest softmax probability on x_u, ``rrr_inv`` the share of
    random parts r of u for which x_e and x_{e or r} get the same answer, ``sufficiency`` p_y(x) - p_y(x_top) and
    ``comprehensiveness`` p_y(x) - p_y(x without top), means over the levels, ``plausibility`` Spearman's correlation of
    attribution and importance, ``top_box_iou`` the intersection over union of top and e, mean over the levels.

    A batch takes two Forwards, because the top boxes are known only after the first. The model runs in eval mode without a
    graph, and its mode is restored. Random parts come from torch's global generator, unless the batch has columns
    ``invariance_0``, .. (rows, objects), which say which boxes stay.

    Args:
        model: A model of region features.
        family: The family of the model: its inputs, outputs and layers.
        batches: Batches of QuestionCollator, as a DataLoader gives them; "question_id" is passed on where all have it.
        attribution: The model's attribution at layer "input"; that of the predicted class in the paper.
        threshold: Boxes whose importance exceeds it are important.
        levels: Shares of boxes, each above 0 and below 1.
        inv_draws: Number of random parts per data point.
        replace: What boxes are replaced by.
        official: Score data points without an important box, as the official code; otherwise rrr_* and top_box_iou are NaN.
        max_rows: Images per model call for views; None runs all at once.

    Returns:
        float64 arrays by the names above, and ``accuracy``, ``full_probability``: (points,), NaN where undefined;
        ``has_importance`` (points,) bool; ``kept_probabilities``, ``removed_probabilities`` (points, levels);
        ``attribution``, ``importance`` (points, objects), NaN at padding; ``question_id``.

    Raises:
        ValueError: No batch, a column is missing, the attribution has no value per box, options out of range.

    Example:
        >>> scores = explanation_scores(model, family_of(model), loader, attribution=KeepOneIn(), threshold=0.55)
        >>> scores["accuracy"].mean()
    """
    edited = EditedInputs(model, family, attribution, threshold, tuple(levels), inv_draws, replace, max_rows)
    device = next(model.parameters()).device
    parts = []
    for batch in progress(batches, "explanation scores"):
        measured = edited.measure({name: v.to(device) if isinstance(v, Tensor) else v for name, v in batch.items()})
        parts.append(_finished({name: v.cpu().double().numpy() for name, v in measured.items()}, inv_draws, official))
        if "question_id" in batch:
            parts[-1]["question_id"] = np.asarray(batch["question_id"])
    if not parts:
        raise ValueError("batches holds no batch; give at least one, and a DataLoader or list: an iterator runs out.")
    return {name: _joined([part[name] for part in parts]) for name in parts[0] if all(name in part for part in parts)}


def _finished(measured: dict[str, npt.NDArray[Any]], draws: int, official: bool) -> dict[str, npt.NDArray[Any]]:
    real, is_important, same, top = (measured.pop(name) for name in ("real", "is_important", "same_answers", "top"))
    has_importance = measured["has_importance"] > 0
    attribution, importance = (np.where(real > 0, measured[name], np.nan) for name in ("attribution", "importance"))
    overlaps = overlap(top > 0, is_important[:, None] > 0)
    scores = measured | {"rrr_inv": same / draws, "top_box_iou": overlaps.mean(1)}
    if not official:
        scores |= {name: np.where(has_importance, scores[name], np.nan) for name in _WITHOUT_IMPORTANT_BOX}
    full = measured["full_probability"]
    correlations = [_rank_correlation(*row) for row in zip(attribution, importance, strict=True)]
    return scores | {
        "attribution": attribution,
        "importance": importance,
        "has_importance": has_importance,
        "sufficiency": full - measured["kept_probabilities"].mean(1),
        "comprehensiveness": full - measured["removed_probabilities"].mean(1),
        "plausibility": np.array(correlations, dtype=np.float64),
    }


def _rank_correlation(attribution: npt.NDArray[Any], importance: npt.NDArray[Any]) -> float:
    # The importance is NaN at padding.
    first, second = attribution[~np.isnan(importance)], importance[~np.isnan(importance)]
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    if parts[0].ndim == 2:  # batches may be padded to different numbers of boxes
        width = max(part.shape[1] for part in parts)
        parts = [np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=np.nan) for part in parts]
    return np.concatenate(parts)
