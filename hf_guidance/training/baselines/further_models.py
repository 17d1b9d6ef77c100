"""FurtherModels: the models that a method trains beside the trainer's, updated when the trainer's is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback


class FurtherModels(TrainerCallback):  # type: ignore[misc]
    """Updates further models at every update of the trainer's model, by an optimizer of the same kind and settings.

    Their gradients come from the one backward of the step's loss. They are clipped by ``max_grad_norm``, apart from the
    trainer's model, and the learning rate follows its schedule.

    Args:
        trainer: The trainer, whose arguments, or ``optimizer_cls_and_kwargs``, say which optimizer.
        models: The models, by name.
        rate: Their learning rate as a share of the trainer's.

    Raises:
        ValueError: An optimizer that updates the parameters of one model only.
    """

    def __init__(self, trainer: Trainer, models: Mapping[str, nn.Module], rate: float) -> None:
        self._models, self._rate, self._most = dict(models), rate, trainer.args.max_grad_norm
        given = trainer.optimizer_cls_and_kwargs or Trainer.get_optimizer_cls_and_kwargs(trainer.args)
        kind, options = given[0], dict(given[1])
        if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)) or "params" in options:
            raise ValueError(
                f"optim={str(trainer.args.optim)!r} is made for one model; train a method with a second model by an optimizer "
                "of torch, such as optim='adamw_torch' or 'sgd'."
            )
        groups: list[dict[str, Any]] = []
        for model in self._models.values():
            decaying = set(trainer.get_decay_parameter_names(model))
            named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
            for decay in (True, False):
                values = [value for name, value in named if (name in decaying) == decay]
                groups.append({"params": values, "weight_decay": trainer.args.weight_decay if decay else 0.0})
        self._optimizer: torch.optim.Optimizer = kind(groups, **options)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Update the models at the learning rate of this step."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * kwargs["optimizer"].param_groups[0]["lr"]
        if self._most:
            for model in self._models.values():
                torch.nn.utils.clip_grad_norm_(model.parameters(), self._most)
        self._optimizer.step()
        self._optimizer.zero_grad()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: the models and the optimizer."""
        models = {name: model.state_dict() for name, model in self._models.items()}
        return {"models": models, "optimizer": self._optimizer.state_dict()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on with what ``state`` gave.

        Raises:
            ValueError: The models of the checkpoint are others.
        """
        try:
            for name, model in self._models.items():
                model.load_state_dict(saved["models"][name])
            self._optimizer.load_state_dict(saved["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"the checkpoint holds other further models than {sorted(self._models)} of this method: {error}. Resume with "
                "the method and the architecture of the first run."
            ) from error
