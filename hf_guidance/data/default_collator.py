"""The collator that the trainer uses by default."""

from __future__ import annotations

from typing import Any

from hf_guidance.data.collator import RowCollator
from hf_guidance.data.images.collator import GuidanceCollator


def default_collator(processor: Any, config: Any) -> RowCollator:
    """A collator of annotated images for a model.

    Args:
        processor: The model's image processor; None when rows hold ``pixel_values``.
        config: The model's configuration, of which ``problem_type`` (single-label if unset) and ``num_labels`` are read.
    """
    problem = getattr(config, "problem_type", None) or "single_label_classification"
    return GuidanceCollator(processor, problem, getattr(config, "num_labels", None))
