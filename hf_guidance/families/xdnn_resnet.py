"""Bias-free ResNets: stages, one Linear on the global mean, and the modules that bring a bias in, if any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from hf_guidance.families.family import Family
from hf_guidance.families.layout import Layout
from hf_guidance.families.stages import plain_linear, spread
from hf_guidance.models.xdnn_resnet.modeling import XDNNBlock, XDNNConvolution, XDNNStem

MODEL_TYPES = ("xdnn_resnet",)
_LINEAR = (XDNNConvolution, nn.Conv2d, nn.Linear)
_HOMOGENEOUS = (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten)
_CONTAINERS = (nn.Sequential, nn.ModuleList, XDNNStem, XDNNBlock)


def build(model: Any) -> Family:
    """Layers are the outputs of the stages; a head that was replaced has no closed form.

    Integrated gradients take one gradient if every module is known to be positively homogeneous, apart from the bias of the
    logits. The paths of all other modules become ``biases``.
    """
    stages = [f"stages.{i}" for i in range(len(model.stages))]
    head = "classifier" if plain_linear(model.classifier) else None
    layouts = dict.fromkeys(stages, Layout())
    return Family(layers=spread(stages), layouts=layouts, pooled_linear=head, biases=tuple(_biased(model)))


def _biased(model: nn.Module) -> Iterator[str]:
    yield from (name for name, _ in model.named_parameters(recurse=False))
    for name, module in model.named_children():
        if name != "classifier":
            yield from _inside(name, module)
    name, head = "classifier", model.get_submodule("classifier")
    while type(head) is nn.Sequential and len(head):
        for i, module in enumerate(head[:-1]):
            yield from _inside(f"{name}.{i}", module)
        name, head = f"{name}.{len(head) - 1}", head[-1]
    if not _is(head, (nn.Linear,)):  # the bias of a last Linear is that of the logits
        yield from _inside(name, head)


def _inside(path: str, module: nn.Module) -> Iterator[str]:
    if module._forward_hooks or module._forward_pre_hooks:  # a hook may add anything to the output
        yield path
    elif _is(module, _LINEAR):
        if module.bias is not None:
            yield path
    elif _is(module, _CONTAINERS) and not list(module.parameters(recurse=False)):
        for name, child in module.named_children():
            yield from _inside(f"{path}.{name}", child)
    elif not _is(module, _HOMOGENEOUS):
        yield path


def _is(module: nn.Module, kinds: tuple[type, ...]) -> bool:
    # Exact types, as subclasses may compute something else. Parametrisation makes a subclass, but only changes the weight.
    kind = type(module).__mro__[1] if is_parametrized(module) else type(module)
    return kind in kinds
