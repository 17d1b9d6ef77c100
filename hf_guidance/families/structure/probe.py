"""Probe: calls a model on images of noise and records what its modules put out."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hf_guidance.common.eval_mode import evaluating
from hf_guidance.common.outputs import activation_of, logits_of, tensors_of
from hf_guidance.families.stages import pair
from hf_guidance.families.structure.patches import patches_of
from hf_guidance.families.structure.signature import PIXELS, required_labels
from hf_guidance.families.structure.weights import random_weights

_DEFAULT_CHANNELS, _DEFAULT_SIZE = 3, (224, 224)
_NO_LAYER = re.compile(r"(Drop(out|Path|Block)?|Pad(ding)?)([123]d)?$")  # endings of names of classes


@dataclass(frozen=True)
class Calling:
    """How a model is called, beside its images, and what its outputs call the logits: as in Family."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    logits: str | int = "logits"


@dataclass
class Recorded:
    """What one module put out in one call.

    Attributes:
        path: The module's path.
        tensor: Its activation (``activation_of``).
        others: The other floating-point tensors of its output.
        alone: Whether the output is the tensor itself, and no container.
        passes_on: Whether the module is of a kind whose output is no layer of its own: Identity, dropout, padding, Linear.
        calls: How often the module ran.
        version: The tensor's version when the module returned; a later one tells that it was overwritten in place.
    """

    path: str
    tensor: Tensor
    others: list[Tensor] = field(default_factory=list)
    alone: bool = True
    passes_on: bool = False
    calls: int = 1
    version: int = 0


class Probe:
    """Calls a model in eval mode on images of noise, with random parameters, so that what is found depends on the net alone.

    The model and all generators stay as they were.

    Args:
        model: The unwrapped model; its forward takes ``pixel_values``.
        calling: How it is called.
        weights: Those of ``random_weights``, if they are there already.

    Attributes:
        size: (height, width) of the images, as the configuration says; 224 x 224 where it does not.
        patches: That places may have (``patches_of``).
        base: (channels, height, width), an image of noise.
        other: Another one.
    """

    def __init__(
        self, model: nn.Module, calling: Calling | None = None, weights: dict[str, Tensor] | None = None
    ) -> None:
        self.model = model
        self.patches = patches_of(model)
        self._calling = calling or Calling()
        channels, self.size = image_shape(model)
        generator = torch.Generator().manual_seed(0)
        self.base, self.other = torch.randn(2, channels, *self.size, generator=generator)
        self._state = random_weights(model) if weights is None else weights

    def each_output(self, paths: Iterable[str], images: Tensor, use: Callable[[str, Tensor], None]) -> None:
        """Hand the outputs of some modules to a function as they are made, so that they need not be held together.

        Args:
            paths: Module paths.
            images: (images, channels, height, width).
            use: Called with a path and that module's output, detached; of several tensors with that of ``activation_of``.

        Raises:
            ValueError: The model cannot be called.
        """
        with torch.no_grad():
            modules = {path: self.model.get_submodule(path) for path in paths}
            self._call(images, modules, lambda recorded: use(recorded.path, recorded.tensor.detach()))

    def graph(self, paths: Iterable[str] | None = None) -> tuple[Tensor, list[Recorded]]:
        """Logits of the base image with their graph, and what modules put out, in the order in which they returned.

        Tensors that do not depend on the image have no graph.

        Args:
            paths: Module paths; None for all modules.

        Raises:
            ValueError: The model cannot be called.
        """
        found: dict[str, Recorded] = {}

        def keep(recorded: Recorded) -> None:
            if recorded.path in found:
                recorded.calls += found.pop(recorded.path).calls
            recorded.version = recorded.tensor._version
            found[recorded.path] = recorded

        with torch.enable_grad():
            every = (name for name, _ in self.model.named_modules() if name)
            modules = {path: self.model.get_submodule(path) for path in (every if paths is None else paths)}
            logits = logits_of(self._call(self._leaf(), modules, keep), self._calling.logits)
        return logits, list(found.values())

    def reaches(self, path: str, part: tuple[slice, slice]) -> bool:
        """Whether the activation of a module depends on a part of the image: its gradient there is not all 0.

        Args:
            path: Module path.
            part: Rows and columns of the image.

        Raises:
            ValueError: The model cannot be called.
        """
        image, kept = self._leaf(), list[Recorded]()
        with torch.enable_grad():
            self._call(image, {path: self.model.get_submodule(path)}, kept.append)
            weights = torch.randn(kept[-1].tensor.shape, generator=torch.Generator().manual_seed(2))
            total = (kept[-1].tensor * weights.to(kept[-1].tensor)).sum()
        if not total.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(total, image, allow_unused=True)
        return gradient is not None and bool(gradient[..., *part].any())

    def fed(
        self,
        path: str,
        feed: Callable[[nn.Module, Any, Any], Any],
        use: Callable[[str, nn.Module], None],
        *,
        training: Collection[str] = (),
    ) -> Tensor:
        """Logits of two images, with their graph, where a module puts out something else.

        Args:
            path: Module path.
            feed: A forward hook of that module, whose result replaces the output.
            use: Called with the path of each module when it has returned, and the module, which has the probe's parameters.
            training: Paths of modules that are in training mode, without those inside them; "" is the model.

        Raises:
            ValueError: The model cannot be called.
        """
        modules = {name: module for name, module in self.model.named_modules() if name}
        handle = modules[path].register_forward_hook(feed)
        images = torch.stack([self.base, self.other])
        try:
            with torch.enable_grad():
                outputs = self._call(images, modules, lambda r: use(r.path, modules[r.path]), training)
                return logits_of(outputs, self._calling.logits)
        finally:
            handle.remove()

    def _leaf(self) -> Tensor:
        first = next(self.model.parameters(), torch.zeros(()))
        leaf: Tensor = self.base[None].to(first.device, first.dtype, copy=True)
        return leaf.requires_grad_()

    def _call(self, images: Tensor, modules: Mapping[str, nn.Module], keep: Any, training: Collection[str] = ()) -> Any:
        def hook_of(path: str) -> Any:
            def hook(module: nn.Module, args: Any, output: Any) -> None:
                if tensors := tensors_of(output):
                    activation, alone = activation_of(output), isinstance(output, Tensor)
                    others = [tensor for tensor in tensors if tensor is not activation]
                    keep(Recorded(path, activation, others, alone, _passes_on(module)))

            return hook

        first = next(self.model.parameters(), torch.zeros(()))
        images = images.to(first.device, first.dtype)
        handles = [module.register_forward_hook(hook_of(path)) for path, module in modules.items()]
        try:
            with evaluating(self.model), _in_full_precision(self.model), torch.random.fork_rng(devices=_devices(first)):
                torch.manual_seed(0)
                for path in training:
                    self.model.get_submodule(path).training = True
                state = self._state | self._buffers() if training else self._state
                return functional_call(self.model, state, kwargs=self._arguments(images))
        except Exception as error:  # whatever a model of unknown kind raises, its layers stay unknown for that reason
            raise ValueError(
                f"{type(self.model).__name__} cannot be called on images {tuple(images.shape)} alone: {type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else ''} (for images of another size or number of channels set "
                "image_size and num_channels of model.config)"
            ) from error
        finally:
            for handle in handles:
                handle.remove()

    def _buffers(self) -> dict[str, Tensor]:
        # Copies, for in training mode modules write to them.
        return {name: self._state.get(name, buffer).clone() for name, buffer in self.model.named_buffers()}

    def _arguments(self, images: Tensor) -> dict[str, Any]:
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        needed = dict.fromkeys(required_labels(self.model), labels)
        return {PIXELS: images, **needed, **self._calling.arguments}


@contextmanager
def _in_full_precision(model: nn.Module) -> Iterator[None]:
    """Without the autocast that accelerate puts around ``forward`` in training with bf16 or fp16."""
    own, wrapped = getattr(model, "_original_forward", None), vars(model).get("forward")
    if own is None or wrapped is None:
        yield
        return
    model.forward = own
    try:
        yield
    finally:
        model.forward = wrapped


def image_shape(model: nn.Module) -> tuple[int, tuple[int, int]]:
    """(channels, (height, width)) of the images that a model takes: from its configuration, else its first convolution."""
    config, net = getattr(model, "config", None), getattr(model, "timm_model", None)
    channels, *size = (getattr(net, "pretrained_cfg", None) or {}).get("input_size") or (None, *_DEFAULT_SIZE)
    channels = (getattr(config, "model_args", None) or {}).get("in_chans") or channels
    size = getattr(getattr(net, "patch_embed", None), "img_size", None) or size
    for part in (config, getattr(config, "vision_config", None)):
        channels = getattr(part, "num_channels", None) or channels
        size = getattr(part, "image_size", None) or size
    if channels is None:
        channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), _DEFAULT_CHANNELS)
    return int(channels), pair(size)


def _passes_on(module: nn.Module) -> bool:
    named = _NO_LAYER.search(type(module).__name__)  # timm and transformers have their own
    return isinstance(module, nn.Identity | nn.Linear) or named is not None


def _devices(tensor: Tensor) -> list[int]:
    return [tensor.get_device()] if tensor.is_cuda else []
