"""Analyses of trained models: confidence intervals, tests, prediction of accuracy under shift, and Pareto fronts."""

from hf_guidance.evaluation.analysis.bootstrap import Estimate, bootstrap_mean, compare, point_grid
from hf_guidance.evaluation.analysis.ood_prediction import PREDICTORS, Correlation, predict_ood
from hf_guidance.evaluation.analysis.pareto import ParetoFront, ParetoMember, merged, pareto_indices
from hf_guidance.evaluation.analysis.pareto_figure import pareto_figure
from hf_guidance.evaluation.analysis.plausibility_accuracy import (
    Trend,
    accuracy_by_plausibility,
    faithfulness_groups,
    plot_trends,
)
from hf_guidance.evaluation.analysis.preference import Interval, Preference, preference
from hf_guidance.evaluation.analysis.representative import NoRepresentative, representative
from hf_guidance.evaluation.analysis.seed_interval import SeedInterval, seed_difference, seed_interval
from hf_guidance.evaluation.top_boxes import top_box_iou

__all__ = [
    "PREDICTORS",
    "Correlation",
    "Estimate",
    "Interval",
    "NoRepresentative",
    "ParetoFront",
    "ParetoMember",
    "Preference",
    "SeedInterval",
    "Trend",
    "accuracy_by_plausibility",
    "bootstrap_mean",
    "compare",
    "faithfulness_groups",
    "merged",
    "pareto_figure",
    "pareto_indices",
    "plot_trends",
    "point_grid",
    "predict_ood",
    "preference",
    "representative",
    "seed_difference",
    "seed_interval",
    "top_box_iou",
]
