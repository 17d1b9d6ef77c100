"""Passes the scores of data points to the evaluate modules rrr, plausibility and faithfulness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.evaluation.metric_modules import metric_path


def explanation_metrics(
    scores: Mapping[str, npt.NDArray[Any]], *, without_important: str = "drop"
) -> dict[str, float | None]:
    """Summarise explanation scores with this library's evaluate modules.

    Args:
        scores: What ``explanation_scores`` returned.
        without_important: "drop" leaves data points without an important box out of the rrr metrics, as in the paper; "keep"
            counts them, for scores made with ``official=True``.

    Returns:
        accuracy, rrr_suff, rrr_unc, rrr_inv, rrr_excluded_share, plausibility, plausibility_undefined_share,
        sufficiency, comprehensiveness, and top_box_iou, the mean over the data points where it is defined. A value that is
        defined for no data point is None.

    Raises:
        ValueError: ``without_important`` is unknown, or is "keep" where the scores of these data points are NaN.

    Example:
        >>> explanation_metrics(explanation_scores(...))["rrr_suff"]
    """
    import evaluate  # imported here: it takes seconds

    has_importance = scores["has_importance"]
    if without_important == "keep" and np.isnan(scores["rrr_suff"]).any():
        raise ValueError(
            "without_important='keep', but the scores of data points without important box are NaN; make them with "
            "explanation_scores(official=True)."
        )
    suff, unc, inv = (np.nan_to_num(scores[name]) for name in ("rrr_suff", "rrr_unc", "rrr_inv"))
    real = [~np.isnan(row) for row in scores["importance"]]
    vectors = {
        name: [row[places] for row, places in zip(scores[column], real, strict=True)]
        for name, column in (("predictions", "attribution"), ("references", "importance"))
    }
    rrr = {"important_accuracy": suff, "unimportant_confidence": unc, "invariance": inv}
    columns: dict[str, dict[str, Any]] = {
        "rrr": rrr | {"has_important": has_importance, "without_important": without_important},
        "plausibility": vectors,
        "faithfulness": {n: scores[n] for n in ("full_probability", "kept_probabilities", "removed_probabilities")},
    }
    results: dict[str, float | None] = {"accuracy": float(scores["accuracy"].mean())}
    for name, given in columns.items():
        found = evaluate.load(metric_path(name), keep_in_memory=True).compute(**given)
        results |= {f"{name}_{key}" if key.endswith("_share") else key: value for key, value in found.items()}
    overlaps = scores["top_box_iou"][~np.isnan(scores["top_box_iou"])]
    return results | {"top_box_iou": float(overlaps.mean()) if len(overlaps) else None}
