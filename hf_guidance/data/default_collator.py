"""The collator of a trainer that was given none."""

from __future__ import annotations

from typing import Any

from hf_guidance.data.collator import RowCollator
from hf_guidance.data.images.collator import GuidanceCollator


def default_collator(processor: Any, config: Any) -> RowCollator:
    """The collator of annotated images for a model.

    Args:
        processor: The model's image processor; None when rows hold ``pixel_values``.
        config: The model's configuration: its ``problem_type`` (single-label where it has none) and ``num_labels``.
    """
    problem = getattr(config, "problem_type", None) or "single_label_classification"
    return GuidanceCollator(processor, problem, getattr(config, "num_labels", None))
