"""The loss of a model that is meant to learn the shortcut."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def generalised_cross_entropy(logits: Tensor, labels: Tensor, q: float) -> Tensor:
    """``q p_y^q CE``, the factor without gradient: easy images, with a high p_y, count more than in cross-entropy.

    Its gradient is q times that of the generalised cross-entropy ``(1 - p_y^q) / q`` (arXiv 1805.07836), as in the
    official code of LfF and of LC.

    Args:
        logits: (images, classes) floats.
        labels: (images,) int64.
        q: Above 0; at 0 it would be no loss at all.

    Returns:
        (images,) floats.
    """
    losses = F.cross_entropy(logits, labels, reduction="none")
    return losses * q * (-losses.detach() * q).exp()
