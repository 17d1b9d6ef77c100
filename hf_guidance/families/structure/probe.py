"""Probe: calls a model on images of noise and records what its modules put out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hf_guidance.common.eval_mode import evaluating
from hf_guidance.families.stages import pair
from hf_guidance.families.structure.weights import random_weights

_DEFAULT_SIZE = (3, 224, 224)  # channels, height, width


@dataclass
class Recorded:
    """What one module put out in one call.

    Attributes:
        path: The module's path.
        tensor: Its output, or the first tensor of several.
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

    Attributes:
        size: (height, width) of the images, as the configuration says; 224 x 224 where it does not.
        base: (channels, height, width), an image of noise.
        other: Another one.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        channels, self.size = image_shape(model)
        generator = torch.Generator().manual_seed(0)
        self.base, self.other = torch.randn(2, channels, *self.size, generator=generator)
        self._state = random_weights(model)

    def each_output(self, paths: Iterable[str], images: Tensor, use: Callable[[str, Tensor], None]) -> None:
        """Hand the outputs of some modules to a function as they are made, so that they need not be held together.

        Args:
            paths: Module paths.
            images: (images, channels, height, width).
            use: Called with a path and that module's output, detached; of several tensors with the first.

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
            logits = logits_of(self._call(self.base[None], modules, keep, leaf=True))
        return logits, list(found.values())

    def _call(self, images: Tensor, modules: Mapping[str, nn.Module], keep: Any, leaf: bool = False) -> Any:
        def hook_of(path: str) -> Any:
            def hook(module: nn.Module, args: Any, output: Any) -> None:
                tensors = [tensor for tensor in tensors_of(output) if tensor.is_floating_point()]
                if tensors:
                    alone = isinstance(output, Tensor)
                    keep(Recorded(path, tensors[0], tensors[1:], alone, _passes_on(module)))

            return hook

        first = next(self.model.parameters(), torch.zeros(()))
        images = images.to(first.device, first.dtype)
        images = images.requires_grad_() if leaf else images
        handles = [module.register_forward_hook(hook_of(path)) for path, module in modules.items()]
        try:
            with evaluating(self.model), torch.random.fork_rng(devices=_devices(first)):
                torch.manual_seed(0)
                return functional_call(self.model, self._state, kwargs={"pixel_values": images})
        except Exception as error:  # whatever a model of unknown kind raises, its layers stay unknown for that reason
            raise ValueError(
                f"{type(self.model).__name__} cannot be called on images {tuple(images.shape)} alone: {type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else ''}"
            ) from error
        finally:
            for handle in handles:
                handle.remove()


def tensors_of(output: Any) -> list[Tensor]:
    """The tensors that a module put out, in order, those inside lists, tuples and mappings included."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = list(output.values())
    return [tensor for item in output for tensor in tensors_of(item)] if isinstance(output, list | tuple) else []


def logits_of(outputs: Any) -> Tensor:
    """The logits of a model's outputs, by name or as the first tensor.

    Raises:
        ValueError: There are none.
    """
    named = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    found = named if isinstance(named, Tensor) else next(iter(tensors_of(outputs)), None)
    if found is None or found.dim() != 2:
        raise ValueError(f"the model puts out {type(outputs).__name__} without logits (images, classes).")
    return found


def image_shape(model: nn.Module) -> tuple[int, tuple[int, int]]:
    """(channels, (height, width)) of the images that a model takes, from its configuration."""
    config, net = getattr(model, "config", None), getattr(model, "timm_model", None)
    channels, *default = (getattr(net, "pretrained_cfg", None) or {}).get("input_size") or _DEFAULT_SIZE
    size: Any = getattr(getattr(net, "patch_embed", None), "img_size", None) or default
    for part in (config, getattr(config, "vision_config", None)):
        channels = getattr(part, "num_channels", None) or channels
        size = getattr(part, "image_size", None) or size
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if config is None and first is not None:
        channels = first.in_channels
    return int(channels), pair(size)


def _passes_on(module: nn.Module) -> bool:
    name = type(module).__name__
    return isinstance(module, nn.Identity | nn.Linear) or "Drop" in name or "Pad" in name


def _devices(tensor: Tensor) -> list[int]:
    return [tensor.get_device()] if tensor.is_cuda else []
