"""Family: what the library must know of an architecture, and nothing else does."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hf_guidance.spatial import tokens_to_grid

SYMBOLIC_LAYERS = ("input", "mid1", "mid2", "mid3", "final")


@dataclass(frozen=True)
class Family:
    """Inputs, outputs and layers of one model.

    Attributes:
        layers: Symbolic layer ("mid1", "mid2", "mid3", "final") to the path of the module whose output it is.
        features: Name of the input that attributions at layer "input" explain.
        inputs: Batch columns the model's forward takes.
        logits: Name of the output that holds the logits.
        channel_axis: 1 for (rows, channels, height, width); -1 where layers put channels last, as tokens
            (rows, tokens, channels) or maps (rows, height, width, channels).
        prefix_tokens: Leading tokens without a place in the image.
        pooled_linear: Path of the Linear head where the logits are it applied to the plain spatial mean of the
            layer "final"; there the gradient is a row of its weight matrix (CAM, arXiv 1512.04150). None elsewhere.
    """

    layers: Mapping[str, str]
    features: str = "pixel_values"
    inputs: tuple[str, ...] = ("pixel_values",)
    logits: str = "logits"
    channel_axis: int = 1
    prefix_tokens: int = 0
    pooled_linear: str | None = None

    def path(self, layer: str, model: nn.Module) -> str:
        """Resolve a symbolic layer or check a dotted module path.

        Raises:
            ValueError: Neither a symbolic layer nor a module of the model; names the allowed layers and close paths.
        """
        if layer in self.layers:
            return self.layers[layer]
        names = [name for name, _ in model.named_modules() if name]
        if layer in names:
            return layer
        close = difflib.get_close_matches(layer, names, n=5, cutoff=0.4)
        raise ValueError(
            f"layer={layer!r} is neither one of {['input', *self.layers]} nor a module of {type(model).__name__}"
            + (f"; the nearest module paths are {close}." if close else "; list them with model.named_modules().")
        )

    def spatial(self, activation: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Bring an activation to (rows, channels, *space).

        Args:
            activation: Maps (rows, channels, height, width) or channels last, tokens (rows, tokens, channels), or
                vectors (rows, features).
            image_size: (height, width) of the input in pixels; tells the grid of tokens.

        Returns:
            (rows, channels, height, width), or (rows, features) as it was.

        Raises:
            ValueError: The activation has another number of axes, or its tokens fill no grid.
        """
        if activation.dim() == 2:
            return activation
        if activation.dim() == 3:
            return tokens_to_grid(activation, self.prefix_tokens, image_size)
        if activation.dim() == 4:
            return activation if self.channel_axis == 1 else activation.movedim(-1, 1)
        raise ValueError(
            f"an activation of shape {tuple(activation.shape)} has no known layout; choose a layer that puts out "
            "(rows, channels, height, width), (rows, tokens, channels) or (rows, features)."
        )

    def raw(self, features: Tensor, like: Tensor) -> Tensor:
        """Bring (images, channels, *space) back to the layout of a raw activation, prefix tokens from ``like``."""
        if self.channel_axis == 1 or features.dim() == 2:
            return features
        if like.dim() == 4:
            return features.movedim(1, -1)
        return torch.cat([like[:, : self.prefix_tokens], features.flatten(2).transpose(1, 2)], dim=1)

    def blend(self, original: Tensor, keep: Tensor, fill: Tensor, first: bool = False) -> Tensor:
        """Edited copies ``fill + keep * (original - fill)`` in the layout of ``original``.

        Args:
            original: (images, ...) raw activation or features.
            keep: (copies, images or 1, *space or ones), bool (hard, selected) or float in [0, 1] (soft, blended).
            fill: Broadcasts against ``original``.
            first: Whether ``original`` is the features, which have (images, channels, *space) in every family.

        Returns:
            (copies * images, ...), copy by copy.

        Raises:
            ValueError: ``keep`` has places, and the layout of ``original`` is not (images, channels, *space).
        """
        if keep[0, 0].numel() == 1:
            mask = keep.reshape(*keep.shape[:2], *[1] * (original.dim() - 1))
        elif (first or self.channel_axis == 1) and keep.dim() == original.dim():
            mask = keep[:, :, None]
        else:
            raise ValueError(
                f"a mask of shape {tuple(keep.shape)} cannot edit an activation of shape {tuple(original.shape)}; views "
                "that mask places edit the input, or layers of shape (rows, channels, height, width)."
            )
        if mask.dtype == torch.bool:
            return torch.where(mask, original, fill).expand(len(keep), *original.shape).flatten(0, 1)
        return (fill + mask.to(original.dtype) * (original - fill)).flatten(0, 1)
