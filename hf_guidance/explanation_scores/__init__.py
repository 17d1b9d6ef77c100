"""Explanation scores: what a model with human importance does on edited inputs, one value a data point."""

from hf_guidance.explanation_scores.boxes import top_boxes
from hf_guidance.explanation_scores.metrics import explanation_metrics
from hf_guidance.explanation_scores.scores import explanation_scores

__all__ = ["explanation_metrics", "explanation_scores", "top_boxes"]
