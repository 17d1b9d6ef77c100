"""Contrast between the images of a batch: which are drawn together and which apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def products(features: Tensor) -> Tensor:
    """Dot product of every pair of images, in the precision of the features, under autocast, too: (images, images)."""
    with torch.autocast(features.device.type, enabled=False):
        found: Tensor = features @ features.T
    return found


def cosines(features: Tensor) -> Tensor:
    """Cosine of every pair of images: (images, features) to (images, images)."""
    return products(F.normalize(features, dim=1))


def contrast(similarities: Tensor, positives: Tensor, negatives: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """``-mean_p [s_p / T - log(sum_p e^(s / T) + sum_n e^(s / T))]`` of every anchor (arXiv 2203.01517).

    Args:
        similarities: (anchors, images) floats.
        positives: (anchors, images) bool.
        negatives: Likewise.
        temperature: T, above 0.

    Returns:
        (anchors,) floats, 0 for an anchor without positives or without negatives; (anchors,) bool, which have both.
    """
    scaled = similarities / temperature
    usable = positives.any(1) & negatives.any(1)
    # An anchor without both reads all places, so that its gradient is a number; it is set to 0 afterwards.
    kept = torch.where(usable[:, None], positives | negatives, torch.ones_like(positives))
    together = scaled.masked_fill(~kept, -torch.inf).logsumexp(1)
    mean = torch.where(positives, scaled, torch.zeros_like(scaled)).sum(1) / positives.sum(1).clamp_min(1)
    return torch.where(usable, together - mean, torch.zeros_like(together)), usable
