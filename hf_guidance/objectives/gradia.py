"""GRADIA."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.attributions import Attribution, GradCAM
from hf_guidance.forward import Forward
from hf_guidance.objectives.normalizations import MinMax, Normalization
from hf_guidance.objectives.objective import AttributionObjective
from hf_guidance.objectives.quadrant_weights import check_quadrant_weights, quadrant_weights


@dataclass(frozen=True)
class GRADIA(AttributionObjective):
    """``L = w_q mean |Â - M̃|``, Â the signed Grad-CAM scaled to [0, 1], M̃ the blurred label map (arXiv 2202.02838).

    M̃ is the importance averaged onto the map's grid, blurred by the 3x3 kernel of (1, 2, 1) / 4 in both directions, with
    mirrored edges, and divided by its maximum. w_q weighs the image by its quadrant: what people said of the first model's
    attention there, and whether its prediction was right. Images of weight 0 do not count, so that a term with reduction
    "rows" is the mean over the images with an attention label, as in the released code.

    Args:
        attribution: The method that makes the map. The released code holds the channels' weights constant:
            ``GradCAM(relu=False, fixed_weights=True)``.
        normalization: What is done to the map; ``MinMax()`` in the paper.
        grid: "attribution" compares on the map's grid, 7x7 in the paper; "importance" blurs at the importance's size.
        quadrant_weights: w of the quadrants unreasonable inaccurate, unreasonable accurate, reasonable inaccurate, and other
            (reasonable accurate, or not judged).
        blur: Whether the label map is blurred.

    Raises:
        ValueError: ``quadrant_weights`` are not four finite numbers >= 0, or all 0.

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the attribution.
        quadrant: (images,) integers from 0 to 3, as ``with_quadrants`` makes them.
        target: (rows,) int64, the explained class; read by the attribution's default target, ``LabelLogit``.

    When to use:
        Some images were judged by people, and attention was drawn on those where the model looks or answers wrongly. Beside
        it the task is ``QuadrantTaskLoss()``. Every place of the map is asked for, those outside too: prefer Energy where
        masks are boxes.

    Reference:
        Gao, Sun, Zhao and Hong, "Aligning Eyes between Humans and Deep Neural Network through Interactive Attention
        Alignment", CSCW 2022, arXiv 2202.02838; weights, blur and scaling: its released code.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance, Term
        >>> from hf_guidance.objectives import GRADIA, QuadrantTaskLoss
        >>> guidance = Guidance(task=QuadrantTaskLoss(), gradia=Term(GRADIA(), reduction="rows"))
        >>> GRADIA.loss(torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.0]]))  # scaled map, label map
        tensor([0.2500])
    """

    attribution: Attribution = field(default_factory=lambda: GradCAM(relu=False))
    normalization: Normalization = field(default_factory=MinMax)
    grid: str = "attribution"
    quadrant_weights: tuple[float, ...] = (1.0, 1.6, 0.2, 0.0)
    blur: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = check_quadrant_weights("quadrant_weights", self.quadrant_weights, self)
        object.__setattr__(self, "quadrant_weights", weights)

    def rows(self, forward: Forward) -> Tensor:
        """Annotated explained rows of images whose weight is above 0."""
        return forward.annotated * (self._weights(forward) > 0)

    def __call__(self, forward: Forward) -> Tensor:
        """The weighted loss of every explained row."""
        return super().__call__(forward) * self._weights(forward)

    def compared(self, forward: Forward) -> tuple[Tensor, Tensor]:
        """The scaled map and the label map on one grid."""
        attribution, importance = super().compared(forward)
        if self.blur and importance.dim() > 2:
            importance = _blurred(importance)
        highest = importance.flatten(1).amax(1).reshape(-1, *[1] * (importance.dim() - 1))
        return attribution, importance / torch.where(highest > 0, highest, 1)

    def _weights(self, forward: Forward) -> Tensor:
        return forward.of_rows(quadrant_weights(forward, self.quadrant_weights, self))

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) in [0, 1], importance (rows, n) in [0, 1], to (rows,) in [0, 1]."""
        return (attribution - importance).abs().mean(1)


def _blurred(maps: Tensor) -> Tensor:
    # (..., height, width); the kernel that OpenCV takes for 3x3 without a sigma.
    for axis in (-1, -2):
        side = maps.transpose(axis, -1)
        line = side.reshape(-1, 1, side.shape[-1])
        padded = F.pad(line, (1, 1), mode="reflect" if line.shape[-1] > 1 else "replicate")
        smooth = (padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]) / 4
        maps = smooth.reshape(side.shape).transpose(axis, -1)
    return maps
