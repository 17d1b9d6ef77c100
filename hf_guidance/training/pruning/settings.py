"""How the last layer is trained, with the values of the paper's experiments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from hf_guidance.common.checks import check_choice, check_count

VARIANTS = ("official", "paper")


@dataclass(frozen=True)
class HeadTraining:
    """Optimiser and length of the training of a last layer.

    The loss is the cross-entropy summed over the batch, as in the released code, and learning rates belong to sums. Weight
    decay is added to the gradient (L2), as torch's SGD and Adam do.

    Attributes:
        learning_rate: Above 0.
        optimizer: "sgd" or "adam".
        weight_decay: At least 0.
        momentum: Of SGD, at least 0 and below 1.
        epochs: Passes over the data.
        batch_size: Images a step; the last batch of an epoch may be smaller.
        decay_after: Number of epochs after which the learning rate is multiplied once by ``decay_factor``; None for never.
        decay_factor: Above 0.
        seed: Of the order of the images.

    Raises:
        ValueError: A value out of its range.

    Example:
        >>> HeadTraining(learning_rate=5e-5, optimizer="sgd", epochs=5, batch_size=128)
    """

    learning_rate: float
    optimizer: str = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.0
    epochs: int = 10
    batch_size: int = 128
    decay_after: int | None = None
    decay_factor: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, ("sgd", "adam"), self)
        for name in ("epochs", "batch_size"):
            check_count(name, getattr(self, name), self)
        if self.decay_after is not None:
            check_count("decay_after", self.decay_after, self)
        ranges = {
            "learning_rate": 0 < self.learning_rate < float("inf"),
            "decay_factor": 0 < self.decay_factor < float("inf"),
            "weight_decay": 0 <= self.weight_decay < float("inf"),
            "momentum": 0 <= self.momentum < 1,
        }
        for name, fits in ranges.items():
            if not fits:
                least = "a number of at least 0" if name in ("weight_decay", "momentum") else "a number above 0"
                below = " and below 1" if name == "momentum" else ""
                raise ValueError(f"HeadTraining({name}={getattr(self, name)!r}): give {least}{below}.")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(
                f"HeadTraining(momentum={self.momentum!r}) is of SGD; leave it out, or set optimizer='sgd'."
            )

    def optimizer_of(self, parameters: Iterable[nn.Parameter]) -> tuple[torch.optim.Optimizer, LRScheduler]:
        """The optimiser, and the schedule that is stepped after each epoch."""
        options: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        optimizer: torch.optim.Optimizer
        if self.optimizer == "sgd":
            optimizer = torch.optim.SGD(parameters, momentum=self.momentum, **options)
        else:
            optimizer = torch.optim.Adam(parameters, **options)
        milestones = [] if self.decay_after is None else [self.decay_after]
        return optimizer, MultiStepLR(optimizer, milestones, self.decay_factor)


_OFFICIAL: Mapping[str, HeadTraining] = {
    "waterbirds": HeadTraining(5e-5, "sgd", 1e-4, epochs=5, batch_size=128, decay_after=4, decay_factor=0.2),
    "biased_celeba": HeadTraining(5e-6, "adam", 1e-4, epochs=50, batch_size=64, decay_after=3, decay_factor=0.5),
    "imagenet9": HeadTraining(5e-6, "adam", 0.1, epochs=10, batch_size=256),
}
# Where the text of the paper says another value than the released scripts.
_PAPER: Mapping[str, Mapping[str, Any]] = {"waterbirds": {"epochs": 10}, "imagenet9": {"learning_rate": 1e-6}}
DATASETS = tuple(_OFFICIAL)


def pruning_settings(dataset: str, variant: str = "official") -> HeadTraining:
    """How CRAYON-Pruning trains the last layer of a ResNet-50 (paper, section IV-C, and released scripts).

    Args:
        dataset: "waterbirds", "biased_celeba" or "imagenet9".
        variant: "official" for the released scripts, "paper" for the text: 10 epochs instead of 5 on Waterbirds, and a
            learning rate of 1e-6 instead of 5e-6 on ImageNet-9. What the text does not say is as in the scripts.

    Raises:
        ValueError: Unknown data set or variant.

    Example:
        >>> pruning_settings("waterbirds").learning_rate
        5e-05
    """
    check_choice("dataset", dataset, DATASETS)
    check_choice("variant", variant, VARIANTS)
    changes = _PAPER.get(dataset, {}) if variant == "paper" else {}
    return HeadTraining(**(vars(_OFFICIAL[dataset]) | dict(changes)))
