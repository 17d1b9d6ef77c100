"""FLAC: pairs of images are made as far apart in the features as they are alike for a biased model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_guidance.forward import full_precision
from hf_guidance.training.baselines.bias_features import cached_bias_features
from hf_guidance.training.baselines.contrast import products
from hf_guidance.training.baselines.labels import class_labels
from hf_guidance.training.baselines.method import Method, MethodRun, Step
from hf_guidance.training.baselines.setting import Setting

_NEAR, _EMPTY = 1e-6, 1e-7  # what the official code adds to squared distances, and to sums of similarities


class _Run(MethodRun):
    def __init__(self, method: FLAC, bias_features: Tensor, device: torch.device) -> None:
        super().__init__()
        self._method, self._bias_features = method, bias_features.to(device)

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        method = self._method
        logits, features = step.main.with_features(step.batch, method.head)
        logits, features = full_precision(logits), full_precision(features)
        labels = class_labels(step.batch, logits)
        task = F.cross_entropy(logits, labels)
        apart = independence(self._bias_features[step.index], features, labels, method.exponent)
        return method.task_weight * task + method.weight * apart, {"task": task, "independence": apart}

    def state(self) -> dict[str, Tensor]:
        return {"bias_features": self._bias_features}


@dataclass(frozen=True)
class FLAC(Method):
    """``L = task_weight CE + weight mean_(i, j) (p_ij - q_ij) (log p_ij - log q_ij)``: features that do not tell the shortcut.

    ``s = 1 / (1 + d^exponent)`` with the distance d of features below the last layer (s_f), or of a biased one's (s_b).
    Pairs (i, j) are of one class and less alike for the biased model than the middle of its largest and smallest s_b, or of
    two classes and more alike. p is ``1 - s_b`` and q is s_f, each divided by its sum over the pairs of row i (+ 1e-7). The
    biased model's features are read once, before the first step, of images without augmentation.

    Args:
        bias_model: A model trained to tell the shortcut (the background, the hair), or one that sees nothing else.
        weight: >= 0; 1000 in the official code and for Waterbirds and CelebA in the comparison of CRAYON, 100 for IN-9.
        task_weight: Of the cross-entropy, >= 0; 1 in the official code, 0.01 in its script for CelebA.
        exponent: Above 0; 1 in the official code, 0.5 in its scripts for CelebA and ImageNet.
        head: Path of the last layer of the trained model; the family's ``pooled_linear`` when None.
        bias_head: Likewise of the biased model.

    Raises:
        ValueError: A weight below 0, ``exponent`` not above 0. On training, a last layer that is not known.

    When to use:
        The shortcut has a name and labels somewhere, not necessarily on the training rows.

    Reference:
        Sarridis et al., "FLAC: Fairness-Aware Representation Learning by Suppressing Attribute-Class Associations", TPAMI
        2024, arXiv 2304.14252; gsarridis/FLAC@1cf0487.

    Example:
        >>> from transformers import ResNetConfig, ResNetForImageClassification
        >>> from hf_guidance.training.baselines import FLAC
        >>> biased = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1]))
        >>> method = FLAC(biased, weight=100.0)
    """

    bias_model: nn.Module = field(repr=False)
    weight: float = 1000.0
    task_weight: float = 1.0
    exponent: float = 1.0
    head: str | None = None
    bias_head: str | None = None

    def __post_init__(self) -> None:
        if not (self.weight >= 0 and self.task_weight >= 0):
            raise ValueError(f"FLAC(weight={self.weight}, task_weight={self.task_weight}): give numbers >= 0.")
        if not self.exponent > 0:
            raise ValueError(f"FLAC(exponent={self.exponent}): give a number above 0, such as 1.0.")

    def begin(self, setting: Setting, saved: Mapping[str, Tensor] | None) -> MethodRun:
        """Read the biased model's features, or those of the checkpoint."""
        setting.main.head(self.head)
        found = cached_bias_features("FLAC", setting, self.bias_model, self.bias_head, saved)
        return _Run(self, found, setting.device)


def independence(bias_features: Tensor, features: Tensor, labels: Tensor, exponent: float = 1.0) -> Tensor:
    """The part of the loss that is of pairs.

    Args:
        bias_features: (images, n) floats.
        features: (images, features) floats.
        labels: (images,) int64.
        exponent: Of the distances.

    Returns:
        A scalar, 0 where no pair counts.
    """
    of_bias, of_features = similarities(bias_features, exponent), similarities(features, exponent)
    middle = (of_bias.max() + of_bias.min()) / 2
    same = labels[:, None] == labels[None]
    counted = (same & (of_bias < middle)) | (~same & (of_bias > middle))
    wanted, found = _shares(1 - of_bias, counted), _shares(of_features, counted)
    # Logarithms are of pairs that count, so that the others' gradient is 0 and not a product with infinity.
    wanted, found = (torch.where(counted, share, torch.ones_like(share)) for share in (wanted, found))
    return ((wanted - found) * (wanted.log() - found.log())).sum() / counted.sum().clamp_min(1)


def similarities(features: Tensor, exponent: float) -> Tensor:
    """``1 / (1 + d^exponent)`` of every pair of images: (images, features) to (images, images)."""
    squares = (features**2).sum(1)
    distances = (squares[:, None] + squares[None] - 2 * products(features)).clamp_min(0)
    return 1 / (1 + (distances + _NEAR).sqrt() ** exponent)


def _shares(values: Tensor, counted: Tensor) -> Tensor:
    return values / ((values * counted).sum(1, keepdim=True) + _EMPTY)
