"""Analyses of trained models from scores of data points: confidence intervals, tests and what predicts what."""

from hf_guidance.analysis.bootstrap import Estimate, bootstrap_mean, compare, point_grid
from hf_guidance.analysis.box_iou import top_box_iou
from hf_guidance.analysis.ood_prediction import PREDICTORS, Correlation, predict_ood
from hf_guidance.analysis.plausibility_accuracy import (
    Trend,
    accuracy_by_plausibility,
    faithfulness_groups,
    plot_trends,
)

__all__ = [
    "PREDICTORS",
    "Correlation",
    "Estimate",
    "Trend",
    "accuracy_by_plausibility",
    "bootstrap_mean",
    "compare",
    "faithfulness_groups",
    "plot_trends",
    "point_grid",
    "predict_ood",
    "top_box_iou",
]
