"""An image classifier for given classes and its image processor, from a checkpoint or from scratch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    ViTImageProcessor,
)

from hf_guidance.models.bcos_resnet.image_processing import BcosImageProcessor
from hf_guidance.models.channel_mask.loading import load_pruned
from hf_guidance.models.xdnn_resnet.image_processing import XDNNImageProcessor

_PROCESSORS = {"bcos_resnet": BcosImageProcessor, "xdnn_resnet": XDNNImageProcessor}


def image_classifier(
    name_or_path: str | None,
    names: Sequence[str],
    problem_type: str,
    *,
    model_type: str = "resnet",
    fields: Mapping[str, Any] | None = None,
    image_size: int = 64,
) -> tuple[Any, Any]:
    """Make an image classifier with one output per class, and its image processor.

    Args:
        name_or_path: Hub id or folder of a checkpoint; its head is made anew where it has another number of classes. None
            makes a model with random weights.
        names: Names of the classes in the order of their indices.
        problem_type: "single_label_classification" or "multi_label_classification".
        model_type: What is made from scratch: "resnet", "vit", "timm_wrapper", "bcos_resnet", ...
        fields: Fields of its configuration.
        image_size: Height and width in pixels to which the processor of a model from scratch resizes.

    Returns:
        The model and its image processor.

    Raises:
        ValueError: An unknown model type, or a field that its configuration does not have.
        OSError: There is no such checkpoint.

    Example:
        >>> model, processor = image_classifier("microsoft/resnet-50", ["cat", "dog"], "multi_label_classification")
    """
    labels = {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": problem_type,
    }
    if name_or_path is not None:
        processor = AutoImageProcessor.from_pretrained(name_or_path)  # of the backend that users get, too
        model = load_pruned(name_or_path, ignore_mismatched_sizes=True, **labels)
        return model, processor
    given = dict(fields or {}) | labels
    if hasattr(_checked(model_type, given), "image_size"):  # token models are built for one size
        given = {"image_size": image_size} | given
    config = AutoConfig.for_model(model_type, **given)
    processor = _PROCESSORS.get(model_type, ViTImageProcessor)(size={"height": image_size, "width": image_size})
    return AutoModelForImageClassification.from_config(config), processor


def _checked(model_type: str, fields: Mapping[str, Any]) -> Any:
    """A configuration of the type, whose fields are known to exist: transformers takes any name, and reads some."""
    if model_type not in CONFIG_MAPPING:
        close = difflib.get_close_matches(model_type, list(CONFIG_MAPPING), n=3)
        raise ValueError(
            f"model_type={model_type!r} is unknown to transformers; "
            + (f"did you mean {' or '.join(close)}?" if close else "give one such as resnet, convnext, vit or swin.")
        )
    config = AutoConfig.for_model(model_type)
    for name in fields:
        if not hasattr(config, name):
            close = difflib.get_close_matches(name, list(config.to_dict()), n=3)
            raise ValueError(
                f"{type(config).__name__} has no field {name!r}; "
                + (f"did you mean {' or '.join(close)}?" if close else f"it has {sorted(config.to_dict())}.")
            )
    return config
