"""View: an edited copy of the features at a layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.views.important import Important
from hf_guidance.views.keep import Keep
from hf_guidance.views.replace import Replace, filled, negative_ones


@dataclass(frozen=True)
class View:
    """An edited copy of the features at a layer. Views compare by value: equal views are run once per step.

    Attributes:
        keep: What stays; None keeps everything.
        replace: What the rest is replaced by.
        draw: Tells two random views apart that are otherwise equal.
        layer: Where the edit happens; ``"input"`` edits the model's features.
    """

    keep: Keep | None = None
    replace: Replace = negative_ones
    draw: int = 0
    layer: str = "input"

    def fill(self, features: Tensor, importance: Tensor | None, keep: Tensor, real: Tensor | None) -> Tensor:
        """What the view replaces by in a step.

        Args:
            features: (batch, channels, *space), the activation at the layer.
            importance: (batch, *space) for the Replace function, or None.
            keep: (copies, batch or 1, *space or ones), what stays.
            real: (batch, *space) bool, False at padding; None where there is none.

        Returns:
            (batch, channels, *space), or a scalar.
        """
        one = self.keep is not None and keep.dtype == torch.bool and len(keep) == 1
        places = (len(features), *features.shape[2:])
        replaced = ~keep[0].to(features.device).expand(places) if one else None
        fill = filled(self.replace, features, importance, real=real, replaced=replaced)
        return fill.expand_as(features) if fill.dim() else fill


FULL = View()
IMPORTANT = View(Important())
UNIMPORTANT = View(Important(invert=True))
