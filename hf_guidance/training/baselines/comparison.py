"""The settings of the compared methods in CRAYON's comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hf_guidance.common.checks import check_choice


@dataclass(frozen=True)
class ComparedSettings:
    """How one method was trained on one data set.

    Attributes:
        method: Fields of the method.
        arguments: Fields of TrainingArguments.
        adam: Whether the optimizer is torch's Adam, whose weight decay is part of the gradient; otherwise SGD without momentum.
    """

    method: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    adam: bool = True


DATASETS = ("waterbirds", "biased_celeba", "imagenet9")

_RATES, _DECAY, _EPOCHS, _BATCH = "learning_rate", "weight_decay", "num_train_epochs", "per_device_train_batch_size"
# Of each method: what is set, and its values for the three data sets, in their order. The fields of the arguments first.
_ARGUMENTS: Mapping[str, Mapping[str, tuple[Any, Any, Any]]] = {
    "JtT": {_RATES: (5e-5, 1e-5, 1e-5), _DECAY: (1e-4, 0.1, 0.1), _EPOCHS: (60, 30, 10)},
    "MaskTune": {_RATES: (1e-4, 1e-9, 1e-7), _EPOCHS: (1, 1, 1)},
    "LfF": {_RATES: (5e-3, 5e-2, 1e-4), _EPOCHS: (50, 50, 1)},
    "SoftCon": {_RATES: (5e-5, 5e-5, 5e-5), _EPOCHS: (10, 10, 10), _BATCH: (32, 32, 128)},
    "FLAC": {_EPOCHS: (20, 5, 5)},
    "LC": {_RATES: (5e-3, 1e-3, 1e-4), _DECAY: (1e-3, 1e-3, 0.1)},
    "CnC": {_RATES: (1e-5, 1e-5, 1e-5), _EPOCHS: (10, 5, 10)},
}
_FIELDS: Mapping[str, Mapping[str, tuple[Any, Any, Any]]] = {
    "JtT": {"copies": (100, 20, 5)},
    "SoftCon": {"task_weight": (1.0, 1.0, 1e4), "temperature": (0.1, 0.1, 0.07)},
    "FLAC": {"weight": (1000.0, 1000.0, 100.0)},
    "LC": {
        "eta": (1.0, 1.0, 1.0),
        "q": (0.8, 0.8, 0.8),
        "temperature": (0.1, 0.1, 0.1),
        "biased_rate": (0.1, 0.1, 0.1),
    },
    "CnC": {"temperature": (0.1, 0.05, 0.1)},
}
_SGD = ("LfF", "LC")


def compared_settings(method: str, dataset: str) -> ComparedSettings:
    """What is known of a method's settings in the comparison of CRAYON, as far as its configuration file says.

    All methods begin with the Original model. Not said there, and so left to the defaults: FLAC's learning rate, LC's epochs,
    CnC's temperature for IN-9 (0.1 here, as for Waterbirds), weight decays but those of JtT and LC, and the momentum of SGD.
    The file gives SoftCon a "clipping" of 50 (Waterbirds, CelebA) or 0, probably the bound ``ratio`` of the official code on
    the weights by which rows are drawn; it is not offered here.

    Args:
        method: Name of the class: "JtT", "MaskTune", "LfF", "SoftCon", "FLAC", "LC" or "CnC".
        dataset: "waterbirds", "biased_celeba" or "imagenet9".

    Returns:
        The settings; fields that are not known are not there.

    Raises:
        ValueError: Another method or data set.

    Reference:
        poloclub/crayon@579dd28, misc/training_config.md.

    Example:
        >>> from hf_guidance.training.baselines import JtT, compared_settings
        >>> known = compared_settings("JtT", "waterbirds")
        >>> JtT(**known.method).copies, known.arguments["num_train_epochs"]
        (100, 60)
    """
    check_choice("method", method, tuple(_ARGUMENTS))
    check_choice("dataset", dataset, DATASETS)
    place = DATASETS.index(dataset)
    fields, arguments = (
        {name: values[place] for name, values in table.get(method, {}).items()} for table in (_FIELDS, _ARGUMENTS)
    )
    return ComparedSettings(MappingProxyType(fields), MappingProxyType(arguments), adam=method not in _SGD)
