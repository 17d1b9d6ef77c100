"""ActDiff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import IMPORTANCE
from hf_guidance.forward import Forward
from hf_guidance.forward.maps import full_precision
from hf_guidance.objectives.checks import VARIANTS, check_threshold, has_important
from hf_guidance.objectives.objective import Objective
from hf_guidance.views import FULL, Important, Needs, Replace, View, shuffle_places
from hf_guidance.views.layers import FINAL, is_class_map, is_module, is_recorded

_EPSILON = 1e-6  # that of torch's PairwiseDistance, which the released code uses


@dataclass(frozen=True)
class ActDiff(Objective):
    """``L = mean_l ||f_l(x) - f_l(x̃)||₂``: the background must not change what layers put out (arXiv 1910.00199).

    x̃ is the image with the pixels outside the mask permuted among themselves. Both calls are differentiated. In an image
    with several explained rows a pixel is inside if it is in the mask of any of them.
    Explained rows without a place inside do not count.

    Args:
        layers: Layers whose outputs are compared: "mid1", "mid2", "mid3", "final", module paths, or "logits". The paper takes
            all convolutions before their activation: give their paths, or those of the norms that follow.
        replace: What the pixels outside are replaced by; over boxes, whose order a model may not see, ``negative_ones``.
        threshold: Inside is ``importance > threshold``.
        importance: Column with human importance.
        variant: "paper" has one distance a layer and image, over all its entries. "official" has one for every line of the
            last axis, with 1e-6 added to each difference, and the mean over all lines of all layers: large layers count most.

    Raises:
        ValueError: No layer, or one that is no output of the model's modules; threshold outside [0, 1]; unknown variant.

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the threshold.

    When to use:
        The background is a shortcut, and masks are exact. It needs no map and no second derivatives, and costs a second
        forward and backward of the annotated images. It also punishes a model for seeing where the object is torn out, and
        grows with the size of the activations: the weight depends on the layers. Prefer Energy where masks are coarse.

    Reference:
        Viviano, Simpson, Dutil, Bengio and Cohen, "Saliency is a Possible Red Herring When Diagnosing Poor Generalization",
        ICLR 2021, arXiv 1910.00199, L_actdiff; official variant: its released code.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance, Term
        >>> from hf_guidance.objectives import ActDiff
        >>> guidance = Guidance(actdiff=Term(ActDiff(layers=("mid3", "final")), weight=0.1))
        >>> ActDiff.loss([torch.tensor([[3.0, 4.0]])], [torch.zeros(1, 2)])  # activations of one layer, of x and of x̃
        tensor([5.])
    """

    layers: tuple[str, ...] = (FINAL,)
    replace: Replace = shuffle_places
    threshold: float = 0.5
    importance: str = IMPORTANCE
    variant: str = "paper"

    def __post_init__(self) -> None:
        given = f"ActDiff(layers={self.layers!r})"
        if isinstance(self.layers, str) or not all(isinstance(layer, str) and layer for layer in self.layers):
            raise ValueError(f"{given}: give a tuple of layer names, as ('mid3', 'final').")
        object.__setattr__(self, "layers", tuple(self.layers))
        wrong = [layer for layer in self.layers if is_recorded(layer) and (is_class_map(layer) or not is_module(layer))]
        if wrong or not self.layers:
            told = f"{wrong[0]!r} is no output of a module" if wrong else "there is nothing to compare"
            raise ValueError(
                f"{given}: {told}; choose from 'mid1', 'mid2', 'mid3', 'final', module paths and 'logits'."
            )
        check_threshold(self)
        check_choice("variant", self.variant, VARIANTS, self)

    def rows(self, forward: Forward) -> Tensor:
        """Annotated explained rows with an important place: without one there is no object to keep."""
        return forward.annotated * has_important(forward, self.importance, self.threshold)

    @property
    def view(self) -> View:
        """The image with its background permuted."""
        return View(Important(self.threshold, column=self.importance), self.replace)

    def needs(self) -> Needs:
        """The layers of the full input and of the view."""
        return Needs([*((FULL, layer) for layer in self.layers), *((self.view, layer) for layer in self.layers)])

    def __call__(self, forward: Forward) -> Tensor:
        """The distance of every explained row."""
        device = forward.column(forward.family.features).device.type
        plain = [_output(forward, layer, FULL) for layer in self.layers]
        masked = [_output(forward, layer, self.view)[0] for layer in self.layers]
        with torch.autocast(device, enabled=False):
            return self.loss(plain, masked, variant=self.variant)

    @staticmethod
    def loss(plain: Sequence[Tensor], masked: Sequence[Tensor], *, variant: str = "paper") -> Tensor:
        """Activations of each layer, (rows, ...) of x and of x̃, to (rows,) >= 0; no slope where they are equal."""
        pairs = list(zip(plain, masked, strict=True))
        if variant == "official":
            lines = [_norm(other - one + _EPSILON).reshape(len(one), -1) for one, other in pairs]
            return torch.cat(lines, 1).mean(1)
        return torch.stack([_norm((one - other).flatten(1)) for one, other in pairs]).mean(0)


def _output(forward: Forward, layer: str, view: View) -> Tensor:
    # (rows, ...) of FULL, (copies, rows, ...) of the view.
    if is_recorded(layer):
        return forward.activation(layer, view)
    logits = full_precision(forward.logits(view))
    return forward.of_rows(logits) if view == FULL else torch.stack([forward.of_rows(copy) for copy in logits])


def _norm(difference: Tensor) -> Tensor:
    # sqrt has an infinite slope at zero: a difference of zeros has the norm 0, without gradient.
    squares = difference.square().sum(-1)
    return torch.where(squares > 0, squares, 1).sqrt() * (squares > 0)
