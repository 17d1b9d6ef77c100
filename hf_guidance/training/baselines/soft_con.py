"""SoftCon: images of one class are drawn together, more so where a biased model tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_guidance.forward import full_precision
from hf_guidance.training.baselines.bias_features import cached_bias_features
from hf_guidance.training.baselines.contrast import cosines, products
from hf_guidance.training.baselines.method import Method, MethodRun, Step
from hf_guidance.training.baselines.setting import Setting

_SMALLEST = 0.2  # share of an image that a crop shows at least, as in the official code


class _Run(MethodRun):
    def __init__(self, method: SoftCon, bias_features: Tensor, device: torch.device) -> None:
        super().__init__()
        self._method, self._bias_features = method, bias_features.to(device)

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        method, name = self._method, step.main.family.features
        logits, labels = step.scored()
        task = F.cross_entropy(logits, labels)
        pixels = step.batch[name]
        views = torch.cat([crops(pixels) if method.augment is None else method.augment(pixels) for _ in range(2)])
        _, features = step.main.with_features({name: views}, method.head)
        both = torch.stack(F.normalize(full_precision(features), dim=1).chunk(2), 1)
        drawn = soft_contrast(both, self._bias_features[step.index], labels, method.temperature)
        return drawn + method.task_weight * task, {"task": task, "contrast": drawn}

    def state(self) -> dict[str, Tensor]:
        return {"bias_features": self._bias_features}


@dataclass(frozen=True)
class SoftCon(Method):
    """``L = mean_a sum_p w_ap (-log softmax_p(s_a / T)) / sum_p w_ap + task_weight CE``, ``w_ap = 1 - cos(b_a, b_p)``.

    s are dot products of normalised features below the last layer, of two views of every image; an anchor's positives are the
    views of its class, the softmax is over all views but the anchor itself. b are features of a biased model, read once,
    before the first step, of images without augmentation. Two views of one image have weight 0.

    Args:
        bias_model: The biased model, such as a BagNet trained by cross-entropy: one with small receptive fields, which sees
            only the shortcut. Its family must know its last layer, or ``bias_head`` names it.
        temperature: T, above 0; 0.07 in the official code, 0.1 for Waterbirds and CelebA in the comparison of CRAYON.
        task_weight: Of the cross-entropy of the images as the collator makes them, >= 0; 1 in the official code.
        augment: A function of (images, channels, height, width) pixels that draws a view of each image; when None, crops of at
            least a fifth of the image, mirrored at random. The official code changes colours, too, before normalisation.
        head: Path of the last layer of the trained model; the family's ``pooled_linear`` when None.
        bias_head: Likewise of the biased model.

    Raises:
        ValueError: ``temperature`` not above 0, ``task_weight`` below 0. On training, a last layer that is not known.

    When to use:
        A model that sees the shortcut alone can be had, as texture is seen by small receptive fields.

    Reference:
        Hong and Yang, "Unbiased Classification through Bias-Contrastive and Bias-Balanced Learning", NeurIPS 2021;
        grayhong/bias-contrastive-learning@35562b6.

    Example:
        >>> from transformers import ResNetConfig, ResNetForImageClassification
        >>> from hf_guidance.training.baselines import SoftCon
        >>> biased = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1]))
        >>> method = SoftCon(biased, temperature=0.1)
    """

    bias_model: nn.Module = field(repr=False)
    temperature: float = 0.07
    task_weight: float = 1.0
    augment: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)
    head: str | None = None
    bias_head: str | None = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"SoftCon(temperature={self.temperature}): give a number above 0, such as 0.07.")
        if not self.task_weight >= 0:
            raise ValueError(f"SoftCon(task_weight={self.task_weight}): give a number >= 0, such as 1.0.")

    def begin(self, setting: Setting, saved: Mapping[str, Tensor] | None) -> MethodRun:
        """Read the biased model's features, or those of the checkpoint."""
        setting.main.head(self.head)
        found = cached_bias_features("SoftCon", setting, self.bias_model, self.bias_head, saved)
        return _Run(self, found, setting.device)


def soft_contrast(features: Tensor, bias_features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """The contrastive part of the loss.

    Args:
        features: (images, views, features) floats.
        bias_features: (images, n) floats.
        labels: (images,) int64.
        temperature: T.

    Returns:
        A scalar, the mean over all views of all images.
    """
    images, views = features.shape[:2]
    flat = features.transpose(0, 1).flatten(0, 1)
    scaled = products(flat) / temperature
    scaled = scaled - scaled.detach().amax(1, keepdim=True)
    weights = (labels[:, None] == labels[None]) * (1 - cosines(bias_features))
    others = ~torch.eye(images * views, dtype=torch.bool, device=flat.device)
    weights = weights.to(flat.dtype).repeat(views, views) * others
    log_shares = scaled - (scaled.exp() * others).sum(1, keepdim=True).add(1e-9).log()
    total = weights.sum(1)
    total = torch.where(total == 0, torch.ones_like(total), total)
    return -((weights * log_shares).sum(1) / total).mean()


def crops(pixels: Tensor) -> Tensor:
    """A random part of every image at the full size, mirrored or not: (images, channels, height, width)."""
    count, device = len(pixels), pixels.device
    draw = torch.rand(4, count, device=device)
    side = (_SMALLEST + (1 - _SMALLEST) * draw[0]).sqrt()  # of a crop with the shape of the image
    mirror = torch.where(draw[1] < 0.5, -1.0, 1.0)
    shift = (2 * draw[2:] - 1) * (1 - side)
    matrix = torch.zeros(count, 2, 3, device=device)
    matrix[:, 0, 0], matrix[:, 1, 1] = side * mirror, side
    matrix[:, :, 2] = shift.T
    grid = F.affine_grid(matrix.to(pixels.dtype), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
