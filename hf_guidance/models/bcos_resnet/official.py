"""Checkpoints of the authors' B-cos ResNets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hf_guidance.models.bcos_resnet.configuration import BcosResNetConfig
from hf_guidance.models.bcos_resnet.modeling import BcosResNetForImageClassification
from hf_guidance.models.shared.checkpoint_file import check_finite, check_model, read_checkpoint
from hf_guidance.models.shared.resnet_sizes import RESNET_DEPTHS

_UNUSED = ("running_mean", "num_batches_tracked")  # buffers that no layer reads
_BLOCK = re.compile(r"^layer(\d+)\.(\d+)\.conv(\d+)\.")


def load_official_bcos(
    model: BcosResNetForImageClassification, source: str | os.PathLike[str] | Mapping[str, Any], head: bool = True
) -> None:
    """Load the weights of the authors' B-cos ResNet into a model.

    Two layouts are known. That of ``BcosResNet`` in the code of arXiv 2303.11932 (keys ``0.conv1.linear.weight``,
    ``0.layer1.0.bn1.weight``, ``0.fc.linear.weight``) is verified by values on a small net. That of the B-cos-v2 releases (the
    same keys without ``0.``, as in its model code) is verified by names and shapes only, as no release was at hand. Prefixes
    such as "module." or "model." are removed.

    Args:
        model: A model of the same sizes.
        source: The state dict, or the file that holds it (itself, or under "state_dict" or "model").
        head: Whether to load the head, too; False keeps the model's own, which may have other classes.

    Raises:
        ValueError: Another kind of model, an unknown layout, weights of another depth, a parameter that is missing, unknown, of
            another shape or not finite, or a file that holds more than plain data (see ``read_checkpoint``).

    Example:
        >>> load_official_bcos(model, "resnet_50-ead259efe4.pth", head=False)
    """
    check_model(model, BcosResNetForImageClassification, "load_official_bcos")
    given = _without_prefix(_state(source))
    names = official_names(model.config)
    _check_depth(given, model.config)
    kept = {theirs: ours for theirs, ours in names.items() if head or not theirs.startswith("fc.")}
    optional = {name for name in names if name.endswith(_UNUSED)}
    missing = sorted(kept.keys() - given.keys() - optional)
    unknown = sorted(given.keys() - names.keys())
    if missing or unknown:
        raise ValueError(
            f"this is not a state dict of the authors' B-cos ResNet: missing {missing}, unknown {unknown}."
        )
    own = model.state_dict()
    wrong = [
        f"{theirs} {tuple(given[theirs].shape)} for {ours} {tuple(own[ours].shape)}"
        for theirs, ours in kept.items()
        if theirs in given and given[theirs].shape != own[ours].shape
    ]
    if wrong:
        raise ValueError(
            f"shapes differ: {wrong}; build the model with the BcosResNetConfig of the checkpoint's sizes, and pass "
            "head=False if only the classes differ."
        )
    fitting = {theirs: given[theirs] for theirs in kept if theirs in given}
    check_finite(fitting)
    model.load_state_dict({kept[theirs]: value for theirs, value in fitting.items()}, strict=False)


def official_names(config: BcosResNetConfig) -> dict[str, str]:
    """Names of parameters and buffers in the authors' code -> in this one, for a model of these sizes."""
    names = _layer("conv1", "bn1", "stem.0")
    convolutions = 3 if config.layer_type == "bottleneck" else 2
    inputs = config.embedding_size
    for stage, (size, depth) in enumerate(zip(config.hidden_sizes, config.depths, strict=True)):
        for block in range(depth):
            theirs, ours = f"layer{stage + 1}.{block}", f"stages.{stage}.{block}"
            for i in range(convolutions):
                names |= _layer(f"{theirs}.conv{i + 1}", f"{theirs}.bn{i + 1}", f"{ours}.layers.{i}")
            if block == 0 and (stage > 0 or inputs != size):
                names |= _layer(f"{theirs}.downsample.0", f"{theirs}.downsample.1", f"{ours}.shortcut")
        inputs = size
    return names | {"fc.linear.weight": "classifier.weight"}


def _layer(convolution: str, norm: str, ours: str) -> dict[str, str]:
    parts = ("weight", "running_var", "running_mean", "num_batches_tracked")
    of_norm = {f"{norm}.{part}": f"{ours}.norm.{part}" for part in parts}
    return {f"{convolution}.linear.weight": f"{ours}.convolution.weight"} | of_norm


def _state(source: str | os.PathLike[str] | Mapping[str, Any]) -> Mapping[str, Tensor]:
    loaded = read_checkpoint(source)
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ValueError("no state dict is given; a mapping of parameter names to tensors is needed.")
    return loaded


def _without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    stems = [name for name in state if re.search(r"(^|\.)conv1\.linear\.weight$", name) and "layer" not in name]
    if len(stems) != 1:
        raise ValueError(
            f"this is not a state dict of the authors' B-cos ResNet: {len(stems)} keys end in conv1.linear.weight outside of "
            f"the stages, one is needed; it begins with {sorted(state)[:4]}."
        )
    prefix = stems[0].removesuffix("conv1.linear.weight")
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _check_depth(given: Mapping[str, Tensor], config: BcosResNetConfig) -> None:
    blocks: dict[int, set[int]] = {}
    convolutions = 0
    for name in given:
        found = _BLOCK.match(name)
        if found:
            stage, block, convolution = map(int, found.groups())
            blocks.setdefault(stage, set()).add(block)
            convolutions = max(convolutions, convolution)
    depths = [len(blocks[stage]) for stage in sorted(blocks)]
    layer_type = "bottleneck" if convolutions == 3 else "basic"
    if (layer_type, depths) != (config.layer_type, list(config.depths)):
        raise ValueError(
            f"these are weights of {_described(layer_type, depths)}, the model is "
            f"{_described(config.layer_type, config.depths)}; build it with BcosResNetConfig of the weights' depth."
        )


def _described(layer_type: str, depths: list[int]) -> str:
    known = [depth for depth, sizes in RESNET_DEPTHS.items() if sizes == (layer_type, tuple(depths))]
    name = f"a ResNet-{known[0]}" if known else "a ResNet of unusual depth"
    return f"{name} ({layer_type} blocks {list(depths)})"
