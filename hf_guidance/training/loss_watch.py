"""LossWatch: ends a run or an evaluation whose loss was computed without the guidance, before it moves a weight."""

from __future__ import annotations

from typing import Any

from transformers import Trainer, TrainerCallback

_OVERRIDABLE = ("compute_loss", "training_step", "prediction_step")


class LossWatch(TrainerCallback):  # type: ignore[misc]
    """Raise at the first update, or evaluated batch, for which GuidedTrainer's own method did not run, as a subclass may cause.

    Args:
        trainer: The trainer, for the error.

    Attributes:
        computed: Set by the trainer's ``compute_loss``.
        stepped: Set by the trainer's ``prediction_step``.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._message = without_guidance(trainer)
        self._unmeasured = without_guidance(trainer, "prediction_step")
        self.computed = self.stepped = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget the previous run."""
        self.computed = False

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the update.

        Raises:
            ValueError: None of its losses came from ``GuidedTrainer.compute_loss``.
        """
        if not self.computed:
            raise ValueError(self._message)
        self.computed = False

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge an evaluated batch.

        Raises:
            ValueError: It did not reach ``GuidedTrainer.prediction_step``, which measures the terms, grounding and columns.
        """
        if not self.stepped:
            raise ValueError(self._unmeasured)
        self.stepped = False


def without_guidance(trainer: Trainer, method: str = "compute_loss") -> str:
    """The error for a loss that was computed without the guidance, since a method of GuidedTrainer did not run."""
    name = type(trainer).__name__
    # Looked for in the classes below GuidedTrainer only; a method may also be replaced on the object.
    classes = [cls for cls in type(trainer).__mro__ if not cls.__module__.startswith(("hf_guidance.", "transformers."))]
    own = [m for m in _OVERRIDABLE if m in vars(trainer) or any(m in vars(cls) for cls in classes)]
    return (
        f"the loss was computed without GuidedTrainer.{method}, so no term of the guidance was in it: {name} overrides "
        f"{own or 'a method that calls it'}. For another task loss, override task_loss(self, forward) in its place, which "
        "returns one loss per image, or give Guidance(task=...) an Objective; to change the whole loss or what is predicted, "
        f"call super().{method}(...) and change its result."
    )
