"""Families: what the library must know of an architecture.

The layers of an image classifier are found by its structure (``structure/``). An architecture of which more is known, or
that takes other inputs, has a file with MODEL_TYPES and build(model), and a line here.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hf_guidance.common.wrappers import unwrapped
from hf_guidance.families import (
    bcos_resnet,
    blip,
    convnext,
    lxmert,
    pythia,
    resnet,
    san,
    swin,
    timm,
    updn,
    updn_captioner,
    vision_encoder_decoder,
    vit,
    xdnn_resnet,
)
from hf_guidance.families.family import Family, FullCall
from hf_guidance.families.layout import Layout
from hf_guidance.families.region_family import RegionFamily
from hf_guidance.families.structure.image_classifiers import structured
from hf_guidance.families.structure.signature import takes_pixels
from hf_guidance.families.words import words_of
from hf_guidance.models.channel_mask.loading import refuse_unmasked
from hf_guidance.models.shared.remote_code import refuse_copy

__all__ = ["ARCHITECTURES", "Family", "FullCall", "Layout", "RegionFamily", "family_of", "words_of"]

ARCHITECTURES = (
    resnet, convnext, vit, swin, timm, updn, pythia, san, lxmert, updn_captioner, vision_encoder_decoder, blip,
    xdnn_resnet, bcos_resnet,
)  # fmt: skip


def family_of(model: Any) -> Family:
    """Find the family of a model by its ``config.model_type``, or by its structure if that is of another type.

    Args:
        model: A model of transformers, or another that takes ``pixel_values``, or one of them inside
            DistributedDataParallel or DataParallel.

    Raises:
        ValueError: The model is of no known type and takes no images; the message names the known types. Or it is a copy of a
            model of this library, see ``refuse_copy``, or a pruned model without its mask, see ``refuse_unmasked``. The layers
            of a model of another type are found when one is read, which raises ValueError, too, if there are none.
    """
    model = unwrapped(model)
    refuse_copy(model)
    refuse_unmasked(model)
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    for architecture in ARCHITECTURES:
        if model_type in architecture.MODEL_TYPES:
            with suppress(AttributeError):  # a model of this type with another head than that for classification
                family: Family = architecture.build(model)
                return family
    if takes_pixels(model):
        return structured(model)
    known = sorted(name for architecture in ARCHITECTURES for name in architecture.MODEL_TYPES)
    raise ValueError(
        f"model type {model_type!r} ({type(model).__name__}) has no family; known are {known}. For another model let its "
        "forward take pixel_values, or pass family=Family(layers={'final': '<module path>'}, ...)."
    )
