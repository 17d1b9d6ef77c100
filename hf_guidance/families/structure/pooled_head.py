"""The head of a net: whether its logits are one Linear layer on the plain mean over the places of a layer (CAM)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from hf_guidance.common.outputs import activation_of, with_activation
from hf_guidance.families.layout import Layout
from hf_guidance.families.stages import hooked, plain_linear
from hf_guidance.families.structure.probe import Probe

# Rounding of float32 and TF32 is below. Above is what random parameters between the mean and the logits do, a norm without any
# in training mode, and dropout: it scales what it leaves by 1 / (1 - p).
_TOLERANCE = 1e-4
_LARGE = 100.0  # a second image is so much larger: what clips or saturates far from 0 is no mean and no Linear
_LAST = 16  # modules at the end of a net without such a head that are looked at for a change; all where there is one
_GROWN = (2, 3)  # places are more than the image has, too: a pool of a fixed window is the mean at one size only


@dataclass(frozen=True)
class PooledHead:
    """What is known of the head behind one layer, and of what it was found.

    Attributes:
        linear: Path of the Linear layer whose output on the mean over the places is the logits; None if there is none.
        behind: Paths of the modules that return after the layer, and how each was made, see ``_made``.
    """

    linear: str | None
    behind: Mapping[str, tuple[Any, ...]]

    def still_holds(self, model: nn.Module) -> bool:
        """Whether the modules behind the layer are those of before and none has another rate, kind or hook."""
        try:
            return all(_made(model.get_submodule(path)) == made for path, made in self.behind.items())
        except AttributeError:
            return False


def pooled_head(probe: Probe, path: str, layout: Layout) -> PooledHead:
    """Find the Linear layer W of which the logits are ``W mean(h) + b``, so that ``dlogit_c / dh = W_c / places`` (CAM).

    Asked of the net itself: the output h of the layer is replaced by noise, and the logits and their gradient at it are
    compared with that form, in eval mode and in training mode, where dropout shows. Its calls are two, on two images, one if
    there is no such head; a net that takes its own number of places only needs one more for each mode.

    Args:
        probe: Of the model.
        path: A module that runs once in a call and puts out one tensor with places.
        layout: Of its output.

    Returns:
        With ``linear`` None where the logits are made in any other way, and where hooks stand between.
    """
    linear, behind = linear_on_mean(probe, path, layout)
    if linear is not None and (
        any(hooked(probe.model.get_submodule(name)) for name in behind)
        or linear_on_mean(probe, path, layout, training=("", *behind))[0] != linear
    ):
        linear = None
    looked = behind if linear is not None else behind[-_LAST:]
    return PooledHead(linear, {name: _made(probe.model.get_submodule(name)) for name in ("", *looked)})


def linear_on_mean(
    probe: Probe, path: str, layout: Layout, training: Collection[str] = ()
) -> tuple[str | None, list[str]]:
    """The Linear layer of ``pooled_head`` in one mode, and the modules that return after the layer.

    Args:
        probe: Of the model.
        path: As in ``pooled_head``.
        layout: Of its output.
        training: Paths of modules in training mode, each alone: what lies before the layer may wait for other processes there.
    """
    behind: list[str] = []
    device = next(probe.model.parameters(), probe.base).device
    for grown in (True, False):
        # The caller may be a step of training with autocast, whose rounding would hide what is looked for.
        with suppress(ValueError), torch.autocast(device.type, enabled=False):
            return _found(probe, path, layout, grown, training, behind), behind
        # The net takes no other number of places, or cannot be called in this mode.
    return None, behind


def _found(
    probe: Probe, path: str, layout: Layout, grown: bool, training: Collection[str], behind: list[str]
) -> str | None:
    plain = {name for name, module in probe.model.named_modules() if plain_linear(module)}
    fed: list[Tensor] = []
    linears: dict[str, tuple[Tensor, Tensor | None]] = {}
    behind.clear()

    def feed(module: nn.Module, args: Any, output: Any) -> Any:
        old = activation_of(output)
        fed.append(_noise(old, layout, grown))
        return with_activation(output, old, fed[-1])

    def use(name: str, module: Any) -> None:
        if fed and name != path:
            behind.append(name)
            if name in plain:  # its weights are now those of the probe
                linears[name] = (module.weight, module.bias)

    logits = probe.fed(path, feed, use, training=training)
    if len(fed) != 1:
        return None
    mean, at = _by_place(fed[0].detach(), layout).mean(1), fed[0]
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)).to(logits)
    if not logits.requires_grad:
        return None
    try:
        with torch.enable_grad():  # the caller may have gradients off
            (gradient,) = torch.autograd.grad((logits * weights).sum(), at, allow_unused=True)
    except CheckpointError:  # blocks behind the layer that are computed anew, by now with the weights of the model
        return None
    if gradient is None:
        return None
    for name, (weight, bias) in reversed(linears.items()):
        fits = weight.shape == (logits.shape[1], mean.shape[1])
        if fits and _agree(logits, gradient, mean, weights, weight, bias, layout):
            return name
    return None


def _agree(
    logits: Tensor,
    gradient: Tensor,
    mean: Tensor,
    weights: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    layout: Layout,
) -> bool:
    """Whether logits are ``W mean + b``, and their gradient is ``W_c / places`` at every place and 0 at prefix tokens."""
    with torch.no_grad():
        shift = torch.zeros_like(weight[:, 0]) if bias is None else bias
        size = mean.abs() @ weight.abs().T + shift.abs()
        if not bool(((logits - mean @ weight.T - shift).abs() <= _TOLERANCE * size).all()):
            return False
        at_places = _by_place(gradient, layout)
        expected = (weights @ weight / at_places.shape[1])[:, None]
        near = (at_places - expected).abs().amax() <= _TOLERANCE * expected.abs().amax()
        rest = gradient[:, : layout.prefix_tokens] if gradient.dim() == 3 else gradient[:0]
        return bool(near) and not bool(rest.any())


def _by_place(activation: Tensor, layout: Layout) -> Tensor:
    """(images, places, channels)."""
    if layout.channel_axis == 1:
        return activation.flatten(2).transpose(1, 2)
    return (activation[:, layout.prefix_tokens :] if activation.dim() == 3 else activation).flatten(1, -2)


def _noise(like: Tensor, layout: Layout, grown: bool) -> Tensor:
    """Two images of noise in the layout of an activation: a channel is around 1 in one and around -100 in the other."""
    shape = list(like.shape)
    axes = [axis for axis in range(1, len(shape)) if axis != layout.channel_axis % len(shape)]
    for axis, more in zip(axes, _GROWN, strict=False):
        shape[axis] += more if grown else 0
    generator = torch.Generator().manual_seed(2)
    each = [1] * len(shape)
    each[layout.channel_axis] = shape[layout.channel_axis]
    noise = torch.randn(shape, generator=generator)
    offset = torch.randn(each, generator=generator)
    sign = torch.tensor([1.0, -_LARGE]).reshape(2, *[1] * (len(shape) - 1))
    return (sign * (offset + noise[:2])).to(like).requires_grad_()


def _made(module: nn.Module) -> tuple[Any, ...]:
    """What says whether a module still does the same: itself, its kind, its children, its settings, and its hooks."""
    simple = (bool, int, float, str)
    settings = {
        name: value
        for name, value in vars(module).items()
        if name != "training"
        and (isinstance(value, simple) or (isinstance(value, tuple) and all(isinstance(v, simple) for v in value)))
    }
    forward = id(vars(module).get("forward"))  # one that was put in place of the class's
    children = [(name, id(child)) for name, child in module._modules.items()]
    hooks = [*module._forward_pre_hooks, *module._forward_hooks]
    return id(module), type(module), children, settings, hooks, forward
