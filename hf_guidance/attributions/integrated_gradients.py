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

    The integral is taken by the midpoint rule. Up to the error of that rule the map is complete: A sums to
    ``score(f) - score(b)``. On nets without biases and with b = 0 one gradient is exact, and the map equals
    InputXGradient's.

    Args:
        layer: Where the path runs: the input, or the activation at a layer.
        target: Which score is explained.
        steps: Points on the path, >= 1; each costs one forward, and one backward from the logits to the layer.
        baseline: b, a Replace function.
        exact: Whether to refuse models on which one gradient is not exact, instead of running the path there.

    Raises:
        ValueError: ``steps`` is not a whole number of at least 1, ``baseline`` is not a function, or ``layer`` is
            empty; on use, ``exact`` with a model that is not known to be free of biases (names the modules), at a layer
            past which other branches may run, or with a baseline other than zeros.

    Note:
        On families known to have no biases (X-DNN), at the input and the symbolic layers, with b = 0, one gradient at
        the full input is taken, whatever ``steps`` says, and no path is walked.

    Columns:
        target: (rows,) int64 in [0, classes), the explained class; read by the default target LabelLogit.
        importance: optional, (rows, *space) in [0, 1]; handed to the Replace function, whose default ignores it.

    When to use:
        X-DNNs, on which it costs as much as InputXGradient: no forward, one backward per slot, none at "final". On
        other models it costs a forward of ``steps`` copies of the batch and one backward through them per slot, and is
        right where maps must be complete. Otherwise prefer InputXGradient, or ExpectedGradients with few samples to
        train.

    Reference:
        Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, arXiv 1703.01365, eq. 1 and 3.
        One gradient on X-DNNs: Hesse, Schaub-Meyer and Roth, "Fast Axiomatic Attribution for Neural Networks", NeurIPS
        2021, arXiv 2111.07668, section 3.

    Example:
        >>> import torch
        >>> from transformers import ResNetConfig, ResNetForImageClassification
        >>> from hf_guidance import Guidance, explain
        >>> from hf_guidance.attributions import IntegratedGradients
        >>> from hf_guidance.objectives import Energy
        >>> guidance = Guidance(energy=Energy(IntegratedGradients(steps=8)))
        >>> model = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))
        >>> explain(model, torch.rand(2, 3, 32, 32), attribution=IntegratedGradients(steps=8)).maps.shape
        (2, 32, 32)
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
        """The activation of the full input at the layer, and the points of the path there."""
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
