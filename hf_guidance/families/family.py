"""Family: all that the library must know about one architecture, in one place."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from hf_guidance.families.found_head import PooledLinear, head_of_layers
from hf_guidance.families.grid import tokens_to_grid
from hf_guidance.families.layout import Layout
from hf_guidance.families.structure.places import FoundLayers, places_of
from hf_guidance.families.structure.probe import Calling
from hf_guidance.families.structure.signature import modules_of, refuse_unknown_features
from hf_guidance.views.layers import choices, is_class_map, is_final


@dataclass(frozen=True)
class FullCall:
    """Results of the model call on the unedited input, for views to re-use.

    Attributes:
        outputs: What the model returned.
        shared: Module path -> output, for the family's ``shared`` modules.
        parts: What each call returned, where groups of images were called apart; else ().
    """

    outputs: Any
    shared: Mapping[str, Tensor]
    parts: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Family:
    """Inputs, outputs and layers of one model.

    Attributes:
        layers: Symbolic layer ("mid1", "mid2", "mid3", "final") -> path of the module whose output it is.
        features: Name of the input that attributions at layer "input" explain.
        inputs: Batch columns that the model's forward takes.
        logits: Name of the output that holds the logits, or its position in a tuple; a tensor alone is the logits.
        channel_axis, prefix_tokens, patch: Of every layer that ``layouts`` does not name; see Layout.
        layouts: Module path -> how its output maps to places. None if the three fields above hold for all layers, as in a
            family by hand. With a mapping, the layout of a module that it does not name is found by changing parts of an
            input (``location.py``), or refused.
        arguments: Further arguments of every call of the model, such as ``{"interpolate_pos_encoding": True}``.
        pooled_linear: Path of the head, if it is a Linear layer on the plain spatial mean of the layer "final", so that the
            gradient there is a row of its weight (CAM, arXiv 1512.04150); else None. Of a net whose layers are found it is
            found when it is read, by calls of the model, and again when the head has changed.
        places: Batch column (images, *space) that is zero where a place is padding; None if no place is padding.
        shared: Paths of modules whose output on the full input ``call`` re-uses.
        class_map: Path of the module whose output is one map per class, (images, classes, height, width). The mean of a map
            over the places plus a bias is the logit, and the maps are sums of dynamic weights times the layer "final" (B-cos
            heads). None for other heads.
        biases: Paths of the modules because of which the net is not positively homogeneous up to a bias of the logits; () if
            there are none, as in X-DNNs; None if this is unknown.
        metric: Name of the metric that measures the model's maps if no other is asked for.
        times: Whether logits are (images, times, classes): a model that says words one after the other.
    """

    layers: Mapping[str, str]
    features: str = "pixel_values"
    inputs: tuple[str, ...] = ("pixel_values",)
    logits: str | int = "logits"
    channel_axis: int = 1
    prefix_tokens: int = 0
    patch: tuple[int, int] | None = None
    layouts: Mapping[str, Layout] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pooled_linear: PooledLinear = field(default=PooledLinear(), repr=False)  # repr would look for it
    places: str | None = None
    shared: tuple[str, ...] = ()
    class_map: str | None = None
    biases: tuple[str, ...] | None = None
    metric: str = "epg"
    times: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.layers, FoundLayers):  # they are looked for by calls like those of the training
            object.__setattr__(self, "layers", self.layers.called(self._calling))
        object.__setattr__(self, "pooled_linear", head_of_layers(PooledLinear.given(self), self.layers))

    @property
    def _calling(self) -> Calling:
        return Calling(self.arguments, self.logits)

    @property
    def images(self) -> bool:
        """Whether the features are images, which a collator of images can provide."""
        return self.features == "pixel_values"

    def with_arguments(self, arguments: Mapping[str, Any]) -> Family:
        """This family with further arguments of every call of the model."""
        # A head that is yet to be found stays so; by ``replace`` alone it would be read.
        return replace(self, arguments={**self.arguments, **arguments}, pooled_linear=PooledLinear.given(self))

    def head_at(self, layer: str) -> str | None:
        """Path of the Linear layer of which the logits are the mean over a layer's places; None if it is not known to be one.

        Where layers are found, only the name "final" asks: the path of a module asks for no other layer.
        """
        if isinstance(self.layers, FoundLayers):
            return self.pooled_linear if is_final(layer) else None
        return self.pooled_linear if is_final(layer, self.layers) else None

    def path(self, layer: str, model: nn.Module) -> str:
        """Resolve a symbolic layer or check a dotted module path.

        Raises:
            ValueError: Neither a symbolic layer nor a module of the model; the message names the layers and close paths.
        """
        if is_class_map(layer) and self.class_map is not None:
            return self.class_map
        if layer in self.layers:
            return self.layers[layer]
        named = modules_of(model)
        if layer in named:
            return layer
        prefixed = dict(model.named_modules()).get(layer)  # PEFT's wrapper lists its modules with a prefix
        if found := [name for name, module in named.items() if module is prefixed]:
            return found[0]
        close = difflib.get_close_matches(layer, list(named), n=5, cutoff=0.4)
        raise ValueError(
            f"layer={layer!r} is neither one of {choices(self.layers)} nor a module of {type(model).__name__}"
            + (f"; the nearest module paths are {close}." if close else "; list them with model.named_modules().")
        )

    def layout(self, path: str, model: nn.Module) -> Layout:
        """How the output of a module maps to places.

        Args:
            path: Module path, as ``path`` gives it.
            model: The unwrapped model.

        Raises:
            ValueError: It is not known and cannot be found, or the model takes no features of that name; the message says
                why, and the way out.
        """
        self.check_call(model)
        if self.layouts is None:
            return Layout(self.channel_axis, self.prefix_tokens, self.patch)
        return self.layouts[path] if path in self.layouts else places_of(model).layout(path, self._calling)

    def check_call(self, model: nn.Module) -> None:
        """Check that the model can be called with its features by name.

        Raises:
            ValueError: Its forward has no such argument; the message shows the wrapper that gives it one.
        """
        refuse_unknown_features(model, self.features)

    def of_layer(self, path: str, model: nn.Module) -> Family:
        """This family with the layout of one module in the fields ``channel_axis``, ``prefix_tokens`` and ``patch``.

        Raises:
            ValueError: As ``layout``.
        """
        found = self.layout(path, model)
        return replace(
            self,
            channel_axis=found.channel_axis,
            prefix_tokens=found.prefix_tokens,
            patch=found.patch,
            layouts=None,
            pooled_linear=PooledLinear.given(self),  # unread
        )

    def call(self, model: nn.Module, inputs: Mapping[str, Any], copies: Tensor, full: FullCall) -> Any:
        """Call the model on edited copies of its features.

        Families that encode their other inputs apart from the features re-use that encoding from the call on the full input.

        Args:
            model: The unwrapped model.
            inputs: The arguments of the model's forward on the unedited batch.
            copies: (copies * images, ...) edited features, copy by copy.
            full: Results of the call on the unedited batch.

        Returns:
            The outputs of the model.
        """
        return model(**repeated(inputs, len(copies) // len(inputs[self.features])) | {self.features: copies})

    def call_hard(
        self, model: nn.Module, inputs: Mapping[str, Any], keep: Tensor, fill: Tensor, full: FullCall
    ) -> Any | None:
        """Call the model on hard views without making the copies, if the family can.

        Only for views of which nothing but the logits is read. Values and parameter gradients equal those of ``call`` on the
        copies.

        Args:
            model: The unwrapped model.
            inputs: The arguments of the model's forward on the unedited batch.
            keep: (copies, images, *space) bool.
            fill: A scalar, or in the layout of the features.
            full: Results of the call on the unedited batch.

        Returns:
            The outputs of the model; None if the family cannot do without the copies.
        """
        return None

    def attention(self, outputs: Any) -> Tensor:
        """The model's attention over its places, (images, *space), from its outputs with ``attention_inputs``.

        Raises:
            ValueError: The architecture has no such attention.
        """
        raise ValueError(
            f"the model returns {type(outputs).__name__} without attention over {self.features!r}; AttentionWeights is "
            "for models that return attention, such as UpDn and LXMERT."
        )

    @property
    def attention_inputs(self) -> dict[str, Any]:
        """Arguments of the model's forward that make it return its attention."""
        return {}

    def canonical(self, features: Tensor) -> Tensor:
        """Bring the features of the batch to (images, channels, *space); pixels have that layout already."""
        return features

    def as_features(self, canonical: Tensor) -> Tensor:
        """Undo ``canonical``."""
        return canonical

    def spatial(self, activation: Tensor, image_size: tuple[int, int] | None) -> Tensor:
        """Bring an activation to (images, channels, *space).

        Args:
            activation: Maps (images, channels, height, width) or with channels last, tokens (images, tokens, channels), or
                vectors (images, features).
            image_size: (height, width) of the input in pixels, from which the grid of tokens follows. None if the features
                are not images.

        Returns:
            (images, channels, height, width), or (images, features) unchanged.

        Raises:
            ValueError: The activation has another number of axes, or its tokens do not fill a grid.
        """
        if activation.dim() == 2:
            return activation
        if activation.dim() == 3 and image_size is not None:
            return tokens_to_grid(activation, self.prefix_tokens, image_size, self.patch)
        if activation.dim() == 4:
            return activation if self.channel_axis == 1 else activation.movedim(-1, 1)
        raise ValueError(
            f"an activation of shape {tuple(activation.shape)} has no known layout; choose a layer with output "
            "(images, channels, height, width), (images, tokens, channels) or (images, features)."
        )

    def raw(self, features: Tensor, like: Tensor) -> Tensor:
        """Bring (images, channels, *space) back to the layout of a raw activation, with the prefix tokens of ``like``."""
        if self.channel_axis == 1 or features.dim() == 2:
            return features
        if like.dim() == 4:
            return features.movedim(1, -1)
        return torch.cat([like[:, : self.prefix_tokens], features.flatten(2).transpose(1, 2)], dim=1)

    def blend(self, original: Tensor, keep: Tensor, fill: Tensor, first: bool = False) -> Tensor:
        """Make edited copies ``fill + keep * (original - fill)`` in the layout of ``original``.

        Args:
            original: (images, ...) raw activation or features.
            keep: (copies, images or 1, *space or ones), bool (hard, selected) or float in [0, 1] (soft, blended).
            fill: Broadcasts against ``original``.
            first: Whether ``original`` is the features, which are (images, channels, *space) here whatever ``channel_axis``.

        Returns:
            (copies * images, ...), copy by copy.

        Raises:
            ValueError: ``keep`` differs between places, but the layout of ``original`` is not (images, channels, *space).
        """
        if keep[0, 0].numel() == 1:
            mask = keep.reshape(*keep.shape[:2], *[1] * (original.dim() - 1))
        elif (first or self.channel_axis == 1) and keep.dim() == original.dim():
            mask = keep[:, :, None]
        else:
            raise ValueError(
                f"a mask of shape {tuple(keep.shape)} cannot edit an activation of shape {tuple(original.shape)}; views "
                "that mask places edit the input, or layers of shape (images, channels, height, width)."
            )
        if mask.dtype == torch.bool:
            return torch.where(mask, original, fill).expand(len(keep), *original.shape).flatten(0, 1)
        return (fill + mask.to(original.dtype) * (original - fill)).flatten(0, 1)


def repeated(inputs: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Repeat every tensor among the arguments, copy by copy."""
    return {
        name: value.repeat(count, *[1] * (value.dim() - 1)) if isinstance(value, Tensor) else value
        for name, value in inputs.items()
    }
