"""Base of models on region features: one vector for each box of an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.families.family import Family


@dataclass(frozen=True)
class RegionFamily(Family):
    """Features are (images, objects, dims); attributions at the input are (rows, objects), by explained rows.

    The canonical layout is (images, dims, objects), for the features and for layers with one vector per box. Positions
    (``visual_pos``) are an input beside the features, and views do not edit them.

    Attributes:
        image_modules: Paths of modules that see nothing but the image: of several questions about one image they are called
            for one (``forward/same_images.py``).
        boxes: Batch column (images, objects, 4) with the box of each place, xyxy in [0, 1].
    """

    features: str = "visual_feats"
    inputs: tuple[str, ...] = (
        "input_ids",
        "attention_mask",
        "token_type_ids",
        "visual_feats",
        "visual_pos",
        "visual_attention_mask",
    )
    places: str | None = "visual_attention_mask"
    metric: str = "plausibility"
    image_modules: tuple[str, ...] = ()
    boxes: str = "visual_pos"

    def canonical(self, features: Tensor) -> Tensor:
        """(images, objects, dims) to (images, dims, objects).

        Raises:
            ValueError: The features have another number of axes.
        """
        if features.dim() != 3:
            raise ValueError(
                f"{self.features!r} has shape {tuple(features.shape)}; region features are (images, objects, dims)."
            )
        return features.transpose(1, 2)

    def as_features(self, canonical: Tensor) -> Tensor:
        """(images, dims, objects) to (images, objects, dims)."""
        return canonical.transpose(1, 2)

    def spatial(self, activation: Tensor, image_size: tuple[int, int] | None) -> Tensor:
        """(images, objects, channels) to (images, channels, objects); vectors (images, features) stay.

        Raises:
            ValueError: The activation has another number of axes.
        """
        if activation.dim() not in (2, 3):
            raise ValueError(
                f"an activation of shape {tuple(activation.shape)} has no known layout; choose a layer with output "
                "(images, objects, channels) or (images, features)."
            )
        return activation if activation.dim() == 2 else activation.transpose(1, 2)

    def raw(self, features: Tensor, like: Tensor) -> Tensor:
        """Undo ``spatial``."""
        return features if features.dim() == 2 else features.transpose(1, 2)

    def blend(self, original: Tensor, keep: Tensor, fill: Tensor, first: bool = False) -> Tensor:
        """Make edited copies ``fill + keep * (original - fill)``, (copies * images, objects, channels), copy by copy.

        Args:
            original: (images, objects, channels), or vectors (images, features).
            keep: (copies, images or 1, objects or 1), bool (hard, selected) or float in [0, 1] (soft, blended).
            fill: Broadcasts against ``original``.
            first: Whether ``original`` is the features; the layout is the same.

        Raises:
            ValueError: ``keep`` differs between boxes, but ``original`` has no boxes.
        """
        if original.dim() != 3 or keep.shape[2:].numel() == 1:
            return super().blend(original, keep, fill)
        mask = keep[..., None]
        if keep.dtype == torch.bool:
            edited = torch.where(mask, original, fill)
        else:
            edited = fill + mask.to(original.dtype) * (original - fill)
        return edited.expand(len(keep), *original.shape).flatten(0, 1)
