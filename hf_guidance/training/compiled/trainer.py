"""CompilingTrainer: a Trainer that compiles its guided steps, and not its model."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hf_guidance.common.wrappers import unwrapped
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance, TrainerTask
from hf_guidance.training.compiled.parts import StepParts
from hf_guidance.training.compiled.settings import refuse_terms, refuse_with_compiled_step, take_settings
from hf_guidance.training.compiled.steps import CompiledSteps, run_graph
from hf_guidance.training.evaluating_trainer import EvaluatingTrainer
from hf_guidance.training.term_checks import TermChecks


class CompilingTrainer(EvaluatingTrainer):
    """Trainer whose ``torch_compile`` compiles a step that differentiates twice, its gradients included.

    The model itself stays as it is, so that it is evaluated and saved uncompiled. A guidance that reads no layer leaves
    ``torch_compile`` to Trainer.

    Args:
        *args: As for Trainer.
        **kwargs: As for Trainer.
    """

    _checks: TermChecks
    _steps: CompiledSteps | None = None

    def _settle_compiling(self) -> None:
        """Before the model is prepared: take what Accelerate would compile it by.

        Raises:
            ValueError: Settings under which a compiled step fails or is not exact, or a ``task_loss`` of a subclass.
        """
        found = take_settings(self.accelerator)
        if found is not None:
            self._steps = CompiledSteps(found)
        if self._steps is None:
            return
        self._steps.forget()
        refuse_with_compiled_step(self.args, self.model, self.accelerator)
        refuse_terms(self.guidance)
        if isinstance(self.guidance["task"].objective, TrainerTask):
            raise ValueError(
                f"torch_compile=True with {type(self).__name__}.task_loss: what it reads of the trainer would be fixed in the "
                "graph of a step; write the loss as an Objective for Guidance(task=...), or leave torch_compile off."
            )

    def create_accelerator_and_postprocess(self) -> None:
        """Trainer's; a search makes an accelerator anew, which must not compile the model either."""
        super().create_accelerator_and_postprocess()
        if self._steps is not None:
            take_settings(self.accelerator)

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """Trainer's model_init; no graph of the last model is used again."""
        if self._steps is not None:
            self._steps.forget()
        model: nn.Module = super().call_model_init(trial)
        return model

    def _by_graph(
        self, model: nn.Module, guidance: Guidance, parts: StepParts
    ) -> tuple[Tensor, dict[str, Tensor]] | None:
        """The loss and the log entries of a step that a graph does; None for an eager one."""
        if self._steps is None or self._checks.open_terms(guidance):
            return None  # what judges the terms differentiates the step in its own way

        def step(module: nn.Module, batches: StepParts) -> tuple[Tensor, dict[str, Tensor]]:
            return guidance(*self._forwards(module, guidance, batches))

        parts = parts.without_texts(self.family.inputs)
        graph = self._steps.graph_of(unwrapped(model), guidance, parts, step)
        return None if graph is None else run_graph(model, graph, parts)

    def _forwards(
        self, model: nn.Module, guidance: Guidance, parts: StepParts
    ) -> tuple[Forward | None, Forward | None]:
        """Forward of the images that a step guides, and forward of those that are called apart."""
        annotated = None if parts.annotated is None else self._forward(model, parts.annotated, guidance.needs())
        # DistributedDataParallel's wrapper must be called once per step on every rank, whatever its batch holds.
        other = model if annotated is None else unwrapped(model)
        rest = None if parts.rest is None else self._forward(other, parts.rest, guidance.needs(annotated=False))
        return annotated, rest
