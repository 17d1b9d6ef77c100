"""Callbacks that read their trainer: Trainer hands its callbacks the model and the arguments, but not itself."""

from __future__ import annotations

import weakref
from typing import Any

from transformers import Trainer, TrainerCallback


class AttachedCallback(TrainerCallback):  # type: ignore[misc]
    """Base of callbacks that read their trainer, whether they were given as ``callbacks=`` or to ``add_callback``."""

    def __init__(self) -> None:
        self._trainer: Any = lambda: None

    @property
    def trainer(self) -> Any:
        """The trainer of this library that has the callback; None where there is none."""
        return self._trainer()

    def attach(self, trainer: Any) -> None:
        """Called by the trainer with itself."""
        self._trainer = weakref.ref(trainer)  # else neither would be freed when the trainer is dropped


class AttachingTrainer(Trainer):  # type: ignore[misc]
    """Trainer that attaches itself to its callbacks of the class AttachedCallback.

    Args:
        *args: As for Trainer.
        **kwargs: As for Trainer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for callback in self.callback_handler.callbacks:
            self._attach(callback)

    def add_callback(self, callback: Any) -> None:
        """As Trainer's."""
        super().add_callback(callback)
        self._attach(self.callback_handler.callbacks[-1])

    def _attach(self, callback: Any) -> None:
        if isinstance(callback, AttachedCallback):
            callback.attach(self)
