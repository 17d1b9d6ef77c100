"""IntegratedGradients."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.attributions.attribution import Attribution, over_channels
from hf_guidance.common.checks import check_count
from hf_guidance.forward import Forward
from hf_guidance.forward.shortcuts import is_straight
from hf_guidance.views import FULL, Needs, Path, Replace, View, zeros
from hf_guidance.views.layers import LOGITS


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
        exact: Whether to refuse models on which one gradient is not exact, instead of walking the path there.

    Raises:
        ValueError: ``steps`` is below 1 or not whole, ``baseline`` no function, or ``layer`` empty; on use, ``exact`` with
            a model that is not known to be free of biases, at a layer that is not known to cut the net, or with another
            baseline than zeros; names the modules.

    Note:
        On families known to be without biases (X-DNN), at the input and the symbolic layers, with b = 0, one gradient at the
        full input is taken, whatever ``steps`` says, and no path is run.

    Example:
        >>> guidance = Guidance(energy=Energy(IntegratedGradients(steps=8)))
    """

    steps: int = 16
    baseline: Replace = zeros
    exact: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("steps", self.steps, self)
        if not callable(self.baseline):
            raise ValueError(
                f"IntegratedGradients(baseline={self.baseline!r}): give a Replace function, as views.zeros."
            )

    @property
    def path(self) -> View:
        """The view whose copies are the points of the path."""
        return View(Path(self.steps), self.baseline, layer=self.layer)

    def needs(self) -> Needs:
        """The full activation, and the path's copies at the layer."""
        return Needs([(FULL, LOGITS), (FULL, self.layer), (self.path, LOGITS), (self.path, self.layer)])

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        if is_straight(self.path, forward.family):
            return over_channels(forward.activation(self.layer) * forward.gradient(self.layer, self.target))
        if self.exact:
            raise ValueError(_not_exact(self.baseline, forward.family.biases, self.layer))
        slope = forward.gradient(self.layer, self.target, self.path).mean(0)
        return over_channels((forward.activation(self.layer) - forward.fill(self.path)) * slope)


def _not_exact(baseline: Replace, biases: tuple[str, ...] | None, layer: str) -> str:
    if baseline != zeros:
        found = f"baseline={getattr(baseline, '__name__', baseline)!r}; allowed is zeros"
    elif biases is None:
        found = "a model whose family does not say that it has no biases; allowed are X-DNNs (Family(biases=()))"
    elif not biases:
        found = f"layer={layer!r}, past which other branches may run; allowed are the input and the symbolic layers"
    else:
        found = f"a model whose modules {list(biases[:5])} have biases or are not positively homogeneous"
    return f"IntegratedGradients(exact=True) on {found}. Take them out, or leave exact=False to walk the path."
