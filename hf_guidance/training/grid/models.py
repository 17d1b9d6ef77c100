"""The three kinds of model that a grid compares: their configurations, their preprocessing, and a new model of each."""

from collections.abc import Sequence
from typing import Any

from transformers import AutoModelForImageClassification, ResNetConfig, ViTImageProcessor
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from hf_guidance.models import BcosImageProcessor, BcosResNetConfig, XDNNImageProcessor, XDNNResNetConfig, load_pruned
from hf_guidance.training.grid.arguments import DataArguments
from hf_guidance.training.grid.options import read_json

MULTI = "multi_label_classification"
CONFIGS = {"vanilla": ResNetConfig, "xdnn": XDNNResNetConfig, "bcos": BcosResNetConfig}


def image_processor(model: str, image_size: int) -> Any:
    """Make the preprocessing of a kind of model.

    Args:
        model: "vanilla", "xdnn" or "bcos".
        image_size: Height and width in pixels.

    Returns:
        An image processor of transformers.
    """
    size = {"height": image_size, "width": image_size}
    if model == "vanilla":
        return ViTImageProcessor(size=size, image_mean=IMAGENET_DEFAULT_MEAN, image_std=IMAGENET_DEFAULT_STD)
    return {"xdnn": XDNNImageProcessor, "bcos": BcosImageProcessor}[model](size=size)


def new_model(model: str, names: Sequence[str], options: DataArguments) -> Any:
    """Make a model from scratch, or from the checkpoint that ``options.pretrained`` names, with a new head.

    Args:
        model: "vanilla", "xdnn" or "bcos".
        names: Names of the classes.
        options: The fields of its configuration, or its checkpoint.

    Returns:
        A multi-label image classifier.
    """
    labels = {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": MULTI,
    }
    path = read_json(options.pretrained).get(model)
    if path is not None:
        return load_pruned(path, ignore_mismatched_sizes=True, **labels)
    fields = read_json(options.model_config) | read_json(options.model_options).get(model, {})
    return AutoModelForImageClassification.from_config(CONFIGS[model](**fields, **labels))
