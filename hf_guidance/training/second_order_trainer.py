"""SecondOrderTrainer: makes a model ready to be differentiated twice, and names what in it cannot be."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from hf_guidance.common.wrappers import unwrapped
from hf_guidance.evaluation.grounding import all_needs
from hf_guidance.second_order import fused_kernels
from hf_guidance.second_order.missing import named
from hf_guidance.training.arguments import StepOptions
from hf_guidance.training.attention import use_differentiable_attention
from hf_guidance.training.evaluating_trainer import EvaluatingTrainer
from hf_guidance.views.layers import is_input

_ONCE_ONLY = ("DeformConv2d", "RoIAlign", "RoIPool", "PSRoIAlign", "PSRoIPool")  # of torchvision.ops


class SecondOrderTrainer(EvaluatingTrainer):
    """Trainer whose steps differentiate twice.

    Args:
        *args: As for EvaluatingTrainer.
        **kwargs: Likewise.
    """

    def _prepare_for_gradients(self, model: nn.Module) -> None:
        if self.guidance.differentiates or self.grounding is not None:
            use_differentiable_attention(model, {layer for _, layer in all_needs(self.guidance, self.grounding)})
        if any(is_input(layer) for _, layer in self.guidance.needs()):
            refuse_once_only(model)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Trainer's step.

        Raises:
            ValueError: In place of PyTorch's error, where an operation of the model has no double backward: names it, the
                module that runs it, and the fix.
        """
        inner = unwrapped(model)
        fused = fused_kernels() if StepOptions.of(self.args).fused_kernels else nullcontext()
        with fused, named(inner, lambda: self._call_again(inner, inputs)):
            loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        return loss

    def _call_again(self, model: nn.Module, inputs: dict[str, Any]) -> None:
        with self.compute_loss_context_manager():
            batch = self._rows.draw_one_per_image(self._prepare_inputs(inputs))
            self._forward(model, batch, self.guidance.needs())


def refuse_once_only(model: nn.Module) -> None:
    """Raise where a model holds a module that is known not to be differentiable twice, and its input is explained.

    Raises:
        ValueError: Modules of torchvision.ops whose kernels have no double backward.
    """
    for path, module in model.named_modules():
        kind = type(module)
        if kind.__name__ in _ONCE_ONLY and kind.__module__.startswith("torchvision."):
            raise ValueError(
                f"the module {path!r} is a {kind.__name__} of torchvision, which has no double backward in torch "
                f"{torch.__version__}, so that no term can read a map at the input of {type(model).__name__}: explain a layer "
                "behind it, such as 'final', or put an ordinary convolution or pooling in its place."
            )
