"""Family: what the library must know of an architecture, and nothing else does."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hf_guidance.families.grid import tokens_to_grid
from hf_guidance.views.layers import choices, is_class_map


@dataclass(frozen=True)
class FullCall:
    """What the unedited input left behind, for views to re-use.

    Attributes:
        outputs: What the model put out.
        shared: Module path to output, for the family's ``shared`` modules.
    """

    outputs: Any
    shared: Mapping[str, Tensor]


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
        places: Batch column (images, *space) that is zero where a place is padding; None where all are real.
        shared: Paths of modules whose output on the full input ``call`` re-uses.
        class_map: Path of the module that puts out a map for each class, (rows, classes, height, width), whose mean over
            places plus a bias is the logits, and which sums dynamic weights times the layer "final" (B-cos heads).
        biases: Paths of modules that keep the net from being positively homogeneous up to a bias of the logits; () where
            there are none, as in X-DNNs; None where that was not looked into.
        images: Whether the features are images, which a collator of images can give.
        metric: Name of the metric that measures the model's maps where no other is asked for.
    """

    layers: Mapping[str, str]
    features: str = "pixel_values"
    inputs: tuple[str, ...] = ("pixel_values",)
    logits: str = "logits"
    channel_axis: int = 1
    prefix_tokens: int = 0
    pooled_linear: str | None = None
    places: str | None = None
    shared: tuple[str, ...] = ()
    class_map: str | None = None
    biases: tuple[str, ...] | None = None
    images: bool = True
    metric: str = "epg"

    def path(self, layer: str, model: nn.Module) -> str:
        """Resolve a symbolic layer or check a dotted module path.

        Raises:
            ValueError: Neither a symbolic layer nor a module of the model; names the allowed layers and close paths.
        """
        if is_class_map(layer) and self.class_map is not None:
            return self.class_map
        if layer in self.layers:
            return self.layers[layer]
        names = [name for name, _ in model.named_modules() if name]
        if layer in names:
            return layer
        close = difflib.get_close_matches(layer, names, n=5, cutoff=0.4)
        raise ValueError(
            f"layer={layer!r} is neither one of {choices(self.layers)} nor a module of {type(model).__name__}"
            + (f"; the nearest module paths are {close}." if close else "; list them with model.named_modules().")
        )

    def call(self, model: nn.Module, inputs: Mapping[str, Any], copies: Tensor, full: FullCall) -> Any:
        """Run the model on edited copies of its features.

        Families whose other inputs are encoded apart from the features re-use their encoding from the full run.

        Args:
            model: The unwrapped model.
            inputs: The arguments of its forward on the unedited batch.
            copies: (copies * images, ...) edited features, copy by copy.
            full: What the unedited batch left behind.

        Returns:
            What the model puts out.
        """
        return model(**repeated(inputs, len(copies) // len(inputs[self.features])) | {self.features: copies})

    def call_hard(
        self, model: nn.Module, inputs: Mapping[str, Any], keep: Tensor, fill: Tensor, full: FullCall
    ) -> Any | None:
        """Run the model on hard views without making the copies, where it can: what it puts out, or None.

        Only for views whose logits alone are read. Equals ``call`` on the copies in values and parameter gradients.

        Args:
            model: The unwrapped model.
            inputs: The arguments of its forward on the unedited batch.
            keep: (copies, images, *space) bool.
            fill: A scalar, or in the layout of the features.
            full: What the unedited batch left behind.
        """
        return None

    def attention(self, outputs: Any) -> Tensor:
        """The model's attention over its places, (images, *space), from its outputs with ``attention_inputs``.

        Raises:
            ValueError: The architecture has none.
        """
        raise ValueError(
            f"the model puts out {type(outputs).__name__} without attention over {self.features!r}; AttentionWeights is "
            "for models with one, as UpDn and LXMERT."
        )

    @property
    def attention_inputs(self) -> dict[str, Any]:
        """Arguments of the model's forward that make it put out its attention."""
        return {}

    def canonical(self, features: Tensor) -> Tensor:
        """Bring the features of the batch to (images, channels, *space); images are that in every family."""
        return features

    def as_features(self, canonical: Tensor) -> Tensor:
        """Undo ``canonical``."""
        return canonical

    def spatial(self, activation: Tensor, image_size: tuple[int, int] | None) -> Tensor:
        """Bring an activation to (rows, channels, *space).

        Args:
            activation: Maps (rows, channels, height, width) or channels last, tokens (rows, tokens, channels), or
                vectors (rows, features).
            image_size: (height, width) of the input in pixels; tells the grid of tokens. None where the features are
                no images.

        Returns:
            (rows, channels, height, width), or (rows, features) as it was.

        Raises:
            ValueError: The activation has another number of axes, or its tokens fill no grid.
        """
        if activation.dim() == 2:
            return activation
        if activation.dim() == 3 and image_size is not None:
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


def repeated(inputs: Mapping[str, Any], count: int) -> dict[str, Any]:
    """The arguments with every tensor repeated, copy by copy."""
    return {
        name: value.repeat(count, *[1] * (value.dim() - 1)) if isinstance(value, Tensor) else value
        for name, value in inputs.items()
    }
