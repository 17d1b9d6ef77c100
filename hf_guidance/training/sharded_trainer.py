"""ShardedTrainer: a Trainer whose steps keep the weights of a model whole that FSDP2 shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn

from hf_guidance.common.sharding import is_sharded, kept_whole
from hf_guidance.forward import Forward
from hf_guidance.forward.shortcuts import takes_backward
from hf_guidance.training.evaluating_trainer import EvaluatingTrainer
from hf_guidance.training.sharding_checks import refuse_sharding
from hf_guidance.views import FULL, Needs
from hf_guidance.views.layers import is_input


class ShardedTrainer(EvaluatingTrainer):
    """Trainer that differentiates gradients of a model whose weights, gradients and optimizer's state FSDP2 shards.

    In each step the weights are gathered once, by the first call of the model, and sharded again after the backward of the
    loss (``kept_whole``). A guidance without terms, where no grounding is measured, takes plain steps, as FSDP2 does them.

    Args:
        *args: As for Trainer.
        **kwargs: As for Trainer.
    """

    def _settle_sharding(self) -> None:
        """Before the model is sharded: refuse what fails then, and look for the heads that a step asks for.

        Raises:
            ValueError: As ``refuse_sharding``.
        """
        if not self.keeps_whole:
            return
        refuse_sharding(self.model, self.accelerator)
        if self.is_fsdp_enabled:
            for view, layer in self.guidance.needs() | (Needs() if self.grounding is None else self.grounding.needs()):
                takes_backward(self.family, view, layer)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Trainer's step, with the weights whole."""
        with self._whole(model):
            loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
            return loss

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> Any:
        """Trainer's step, with the weights whole."""
        with self._whole(model):
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        with _no_pixel_embeddings(self.model) if self.is_fsdp_enabled else nullcontext():
            return super()._prepare_for_training(*args, **kwargs)

    def _forward(self, model: nn.Module, batch: Mapping[str, Any], needs: Needs) -> Forward:
        name = self.family.features
        if model.training and self._differentiates_input and is_sharded(model) and batch[name].is_floating_point():
            # FSDP2 adds up gradients in the order in which backwards reach the inputs of modules. All processes must have one
            # order, also one whose images have no annotation, and which would not reach the input of the model.
            batch = {**batch, name: batch[name].detach().requires_grad_()}
        return super()._forward(model, batch, needs)

    @property
    def keeps_whole(self) -> bool:
        """Whether weights stay whole in every step, for gradients are differentiated, or processes may call differently."""
        return bool(self.guidance.guided) or self.guidance.differentiates or self.grounding is not None

    @property
    def _differentiates_input(self) -> bool:
        return any(view == FULL and is_input(layer) for view, layer in self.guidance.needs())

    def _whole(self, model: nn.Module) -> AbstractContextManager[None]:
        return kept_whole(model) if self.keeps_whole else nullcontext()


@contextmanager
def _no_pixel_embeddings(model: Any) -> Iterator[None]:
    """Accelerate shards ``get_input_embeddings()`` apart: models of images raise there, or name a part of a block of theirs."""
    find = getattr(model, "get_input_embeddings", None)
    try:
        found = find() if callable(find) else None
    except NotImplementedError:
        found = None
    if find is None or isinstance(found, nn.Embedding):
        yield
        return
    model.get_input_embeddings = lambda: None
    try:
        yield
    finally:
        del model.get_input_embeddings
