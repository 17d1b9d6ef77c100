"""Explanation scores: what a model answers on inputs edited by importance and attribution, one value per data point."""

from hf_guidance.evaluation.scores.evaluate_modules import explanation_metrics
from hf_guidance.evaluation.scores.scores import explanation_scores
from hf_guidance.evaluation.top_boxes import top_boxes

__all__ = ["explanation_metrics", "explanation_scores", "top_boxes"]
