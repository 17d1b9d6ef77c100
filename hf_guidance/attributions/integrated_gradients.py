"""IntegratedGradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from hf_guidance.attributions.attribution import Attribution, over_channels
from hf_guidance.views import FULL, Path, Replace, View, zeros

if TYPE_CHECKING:
    from hf_guidance.forward import Forward, Needs


@dataclass(frozen=True)
class IntegratedGradients(Attribution):
    """``A = sum_ch (f - b) * mean_k d score(b + (k + 1/2)/steps * (f - b)) / d f`` (arXiv 1703.01365, eq. 1 and 3).

    The integral by the midpoint rule. Complete up to its error: A sums to score(f) - score(b). On nets without biases and
    b = 0 one gradient is exact and equals InputXGradient.

    Args:
        layer: Where the path runs: the input, or the activation at a layer.
        target: Which score is explained.
        steps: Points on the path, >= 1; each costs a forward and a backward from the layer on.
        baseline: b, a Replace function.

    Example:
        >>> guidance = Guidance(energy=Energy(IntegratedGradients(steps=8)))
    """

    steps: int = 16
    baseline: Replace = zeros

    def __post_init__(self) -> None:
        super().__post_init__()
        Path(self.steps)

    @property
    def path(self) -> View:
        """The view whose copies are the points of the path."""
        return View(Path(self.steps), self.baseline, layer=self.layer)

    def needs(self) -> Needs:
        """The full activation, and the path's copies at the layer."""
        return frozenset({(FULL, "logits"), (FULL, self.layer), (self.path, "logits"), (self.path, self.layer)})

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        slope = forward.gradient(self.layer, self.target, self.path).mean(0)
        return over_channels((forward.activation(self.layer) - forward.fill(self.path)) * slope)
