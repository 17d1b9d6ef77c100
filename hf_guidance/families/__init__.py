"""Families: one file per architecture. A new architecture needs a file with MODEL_TYPES and build(model), and a line here."""

from __future__ import annotations

from typing import Any

from hf_guidance.families import bcos_resnet, convnext, lxmert, resnet, swin, timm, updn, vit, xdnn_resnet
from hf_guidance.families.family import Family, FullCall
from hf_guidance.families.region_family import RegionFamily

__all__ = ["ARCHITECTURES", "Family", "FullCall", "RegionFamily", "family_of"]

ARCHITECTURES = (resnet, convnext, vit, swin, timm, updn, lxmert, xdnn_resnet, bcos_resnet)


def family_of(model: Any) -> Family:
    """Find the family of a model by its ``config.model_type``.

    Args:
        model: A transformers model, or a wrapper with the model at ``.module``.

    Raises:
        ValueError: No family is for this model type; the message names the known ones.
    """
    model = getattr(model, "module", model)
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    for architecture in ARCHITECTURES:
        if model_type in architecture.MODEL_TYPES:
            family: Family = architecture.build(model)
            return family
    known = sorted(name for architecture in ARCHITECTURES for name in architecture.MODEL_TYPES)
    raise ValueError(
        f"model type {model_type!r} ({type(model).__name__}) has no family; known are {known}. For another model pass "
        "family=Family(layers={'final': '<module path>'}, ...)."
    )
