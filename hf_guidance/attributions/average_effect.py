"""AverageEffect."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.attributions.perturbation import Perturbation
from hf_guidance.common.checks import check_count
from hf_guidance.forward import Forward
from hf_guidance.views import Coalitions, Flip, View
from hf_guidance.views.coalitions import ONE_TELLS_NOTHING


@dataclass(frozen=True)
class AverageEffect(Perturbation):
    """``A_j`` = mean score of the coalitions with j - mean score of those without (arXiv 2206.11212, eq. 9).

    0 where one side is empty. The coalitions are those of KernelSHAP, shared by the batch; with two samples they are a
    random one and the same with one place flipped, so one place is explained.

    Args:
        layer: Where places are taken out.
        target: Which score is explained.
        replace: What stands in their place.
        samples: Coalitions, >= 2.

    Raises:
        ValueError: Fewer than 2 samples.

    Note:
        The authors' code mixes the rows of a batch here; this is the formula of each row.

    Example:
        >>> guidance = Guidance(align=Alignment(AverageEffect(samples=15)))
    """

    samples: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("samples", self.samples, self, 2, ONE_TELLS_NOTHING)

    @property
    def views(self) -> tuple[View, ...]:
        """The coalitions."""
        return (self.view(Flip() if self.samples == 2 else Coalitions(self.samples)),)

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        (view,) = self.views
        scores = forward.scores(self.target, view)
        mask = self.mask(forward, view, scores)[:, 0]
        inside = mask.flatten(1).T
        outside = 1 - inside
        with_, without = (side.sum(1, keepdim=True) for side in (inside, outside))
        contrast = inside / with_.clamp_min(1) - outside / without.clamp_min(1)
        contrast = contrast * ((with_ > 0) & (without > 0))
        maps: Tensor = (contrast @ scores).T.unflatten(1, mask.shape[1:])
        return maps
