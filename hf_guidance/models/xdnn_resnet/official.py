"""Checkpoints of the authors' bias-free ResNets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from hf_guidance.models.shared.checkpoint_file import check_finite, check_model, read_checkpoint
from hf_guidance.models.shared.resnet_sizes import RESNET_DEPTHS
from hf_guidance.models.xdnn_resnet.modeling import XDNNResNetForImageClassification

_HEAD = ("fc.weight", "fc.bias")
_STATES = ("state_dict", "model")
"""Keys of the parameters in checkpoints: of the code of arXiv 2111.07668, of the code of arXiv 2303.11932."""


def load_official_xdnn(
    model: XDNNResNetForImageClassification, source: str | PathLike[str] | Mapping[str, Any], *, head: bool = True
) -> None:
    """Load the parameters of an ``xfixup_resnet`` (arXiv 2111.07668, visinf/fast-axiomatic-attribution) into a model.

    It also loads the models that the code of arXiv 2303.11932 trains from it, whose head has a bias. If the file has no head
    bias, it is set to zero.

    Note:
        Checked by values: the authors' bottlenecks, stem and head in a small network, and whole networks of depth 18 and 50
        in their layout, against torchvision's without BatchNorm. Depth 34 and 101 only by names and shapes. The released
        ``xfixup_resnet50_model_best.pth.tar`` itself was not at hand.

    Args:
        model: A model of the same sizes; it stays unchanged if something does not fit.
        source: Path of a checkpoint, or its state dict; names may begin with "module.", as DataParallel writes them.
        head: False leaves the model's head alone, which may then have other classes.

    Raises:
        ValueError: Parameters are missing, unknown, of other shapes or not finite; the message names them, and the depth
            that the file seems to have. Or the model is of another kind, or the file holds more than plain data (see
            ``read_checkpoint``).

    Example:
        >>> model = XDNNResNetForImageClassification(XDNNResNetConfig.of_depth(50, num_labels=20))
        >>> load_official_xdnn(model, "xfixup_resnet50_model_best.pth.tar", head=False)
    """
    check_model(model, XDNNResNetForImageClassification, "load_official_xdnn")
    given = _state(source)
    wanted = {name: value for name, value in _official(model).items() if head or name not in _HEAD}
    given = given if head else {name: value for name, value in given.items() if name not in _HEAD}
    if "fc.bias" in wanted and "fc.weight" in given and "fc.bias" not in given:
        given = given | {"fc.bias": torch.zeros_like(wanted["fc.bias"])}
    _check(wanted, given)
    check_finite(given)
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(given[name])


def _state(source: str | PathLike[str] | Mapping[str, Any]) -> dict[str, Tensor]:
    loaded = read_checkpoint(source)
    for name in _STATES:
        loaded = loaded[name] if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping) else loaded
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ValueError(
            f"This is neither a state dict nor a checkpoint with one at {' or '.join(map(repr, _STATES))}: "
            f"{sorted(map(str, loaded))[:5] if isinstance(loaded, Mapping) else type(loaded).__name__}."
        )
    return {name.removeprefix("module."): value for name, value in loaded.items()}


def _official(model: XDNNResNetForImageClassification) -> dict[str, Tensor]:
    """The model's parameters by the authors' names."""
    ours = dict(model.named_parameters())
    names = {"stem.convolution.weight": "conv1.weight", "classifier.weight": "fc.weight", "classifier.bias": "fc.bias"}
    return {names.get(name) or _of_block(name): parameter for name, parameter in ours.items()}


def _of_block(name: str) -> str:
    match = re.fullmatch(r"stages\.(\d+)\.(\d+)\.(shortcut|convolutions\.(\d+))\.weight", name)
    if not match:
        return name  # of a module that was added to the model: the file lacks it
    stage, block, _, index = match.groups()
    return f"layer{int(stage) + 1}.{block}.{'downsample' if index is None else f'conv{int(index) + 1}'}.weight"


def _check(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    missing, unknown = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    shapes = {
        name: f"{tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted.keys() & given.keys()
        if given[name].shape != wanted[name].shape
    }
    if not (missing or unknown or shapes):
        return
    parts = [f"missing {_some(missing)}"] * bool(missing) + [f"unknown {_some(unknown)}"] * bool(unknown)
    parts += [f"other shapes {_some([f'{name} {shapes[name]}' for name in sorted(shapes)])}"] * bool(shapes)
    raise ValueError(
        f"The parameters do not fit the model: {'; '.join(parts)}. {_advice(given, unknown, missing, shapes)}"
    )


def _advice(given: Mapping[str, Tensor], unknown: list[str], missing: list[str], shapes: Mapping[str, str]) -> str:
    if any(re.search(r"\.(scale|bias\d[ab])$", name) for name in unknown):
        return "They have biases and scales: a Fixup ResNet, not an X-DNN."
    if any(re.search(r"\.(running_var|bn\d\.weight)$", name) for name in unknown):
        return "They have BatchNorm: an ordinary ResNet, not an X-DNN."
    if {*unknown, *missing, *shapes} == {"fc.bias"}:
        return "Build the model with head_bias=True, or leave its head alone with head=False."
    if {*unknown, *missing, *shapes} <= set(_HEAD):
        return "Only the head differs; leave it alone with head=False."
    depth = _depth(given)
    if depth is None:
        return "They do not belong to a ResNet-18 to -101; build the model with the sizes of the checkpoint."
    return f"They seem to be of depth {depth}; build the model with XDNNResNetConfig.of_depth({depth})."


def _depth(given: Mapping[str, Tensor]) -> int | None:
    blocks = {match.groups() for name in given if (match := re.match(r"layer(\d+)\.(\d+)\.conv", name))}
    depths = tuple(sum(stage == str(i + 1) for stage, _ in blocks) for i in range(len({stage for stage, _ in blocks})))
    layer_type = "bottleneck" if "layer1.0.conv3.weight" in given else "basic"
    return next((depth for depth, kind in RESNET_DEPTHS.items() if kind == (layer_type, depths)), None)


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
