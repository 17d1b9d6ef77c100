"""Method: a compared method as a value, and MethodRun: what it does and remembers in one training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Sampler

from hf_guidance.forward import full_precision
from hf_guidance.training.baselines.classifier import Classifier
from hf_guidance.training.baselines.labels import class_labels
from hf_guidance.training.baselines.setting import Setting


@dataclass(frozen=True)
class Step:
    """One batch of a training step.

    Attributes:
        main: The trained model, in training mode.
        batch: The columns of the batch, on the device.
        index: (images,) int64, the row of the training set that each image is of; on the device.
        epoch: Number of epochs that are done, as 1.5 in the middle of the second.
    """

    main: Classifier
    batch: Mapping[str, Any]
    index: Tensor
    epoch: float

    def scored(self, model: nn.Module | None = None) -> tuple[Tensor, Tensor]:
        """Logits (images, classes), at least float32, and the labels (images,) int64 of the batch.

        Args:
            model: A further model of the same architecture; the trained one when None.

        Raises:
            ValueError: As ``class_labels``.
        """
        called = self.main if model is None else Classifier(model, self.main.family)
        logits = full_precision(called.logits(self.batch))
        return logits, class_labels(self.batch, logits)

    def cross_entropy(self) -> Tensor:
        """The cross-entropy of every image, (images,)."""
        logits, labels = self.scored()
        return F.cross_entropy(logits, labels, reduction="none")


class MethodRun:
    """A method in one training: the rows that it draws, its loss, and the state that checkpoints hold.

    Attributes:
        order: (draws,) int64, the row of the training set behind each draw of an epoch; None for every row once.
        models: Further models that are trained, by name; their parameters are updated as the trained
            model's are, and the trainer sets their mode.
        rate: Learning rate of those models as a share of the trained model's.
    """

    order: Tensor | None = None
    rate: float = 1.0

    def __init__(self) -> None:
        self.models: dict[str, nn.Module] = {}

    def sampler(self, batch_size: int, seed: int) -> Sampler[int] | None:
        """What draws the rows of an epoch, in the order of ``order``; None for every one once, shuffled.

        Args:
            batch_size: Rows of a batch, which are drawn one after another.
            seed: Of the training.
        """
        return None

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and what is logged of it, by name, as ``loss/<name>``."""
        raise NotImplementedError(f"{type(self).__name__} must define loss(step).")

    def state(self) -> dict[str, Tensor]:
        """Tensors by name that a checkpoint holds beside the weights of ``models``; they are not copied."""
        return {}

    def to(self, device: torch.device) -> None:
        """Bring state and further models to a device."""
        for model in self.models.values():
            model.to(device)


@dataclass(frozen=True)
class Method:
    """Base of the compared methods: frozen values that BaselineTrainer trains with.

    A method is written as a subclass with ``begin``, which returns a MethodRun, or for one that trains no epochs with ``fit``.

    Attributes:
        fits: Whether ``train()`` is one call of ``fit``, without epochs.
        several_processes: Whether several processes may train with it: its state is the same on all of them.
    """

    fits: ClassVar[bool] = False
    several_processes: ClassVar[bool] = True

    def begin(self, setting: Setting, saved: Mapping[str, Tensor] | None) -> MethodRun:
        """Start a training, or go on with one.

        Args:
            setting: The model and the training set before the first step.
            saved: ``MethodRun.state()`` of the checkpoint that is resumed; None in a new training.
        """
        raise NotImplementedError(f"{type(self).__name__} must define begin(setting, saved).")

    def fit(self, setting: Setting) -> dict[str, float]:
        """Change the model at once, and return what is logged; for methods with ``fits``."""
        raise NotImplementedError(f"{type(self).__name__} must define fit(setting).")
