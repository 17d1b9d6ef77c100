"""Whether images without annotation run in a call of their own, so that they cost what they cost in a plain step."""

from __future__ import annotations

from torch import nn

from hf_guidance.families import Family
from hf_guidance.forward.batch_norm import couples_images
from hf_guidance.forward.shortcuts import reduced, takes_backward
from hf_guidance.views import Needs, takes_from_others


def pays_apart(needs: Needs, family: Family, model: nn.Module) -> bool:
    """Whether to call the annotated images and the others apart.

    Not where nothing takes a backward, as at "final" below a (mean, Linear) head: then one call of all images costs what two
    do, and what is explained of it in closed form is the annotated rows alone, with BatchNorm in train mode, too. And not
    where images depend on each other: in BatchNorm's statistics, or because a view fills places from other images.

    Args:
        needs: What a step reads of the annotated images.
        family: The family of the model.
        model: The model, in the mode of the step.
    """
    costly = any(takes_backward(family, view, layer) for view, layer in reduced(needs, family))
    return costly and not couples_images(model) and not any(takes_from_others(view.replace) for view, _ in needs)
