"""View: an edited copy of the features at a layer."""

from __future__ import annotations

from dataclasses import dataclass

from hf_guidance.views.important import Important
from hf_guidance.views.keep import Keep
from hf_guidance.views.replace import Replace, negative_ones


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


FULL = View()
IMPORTANT = View(Important())
UNIMPORTANT = View(Important(invert=True))
