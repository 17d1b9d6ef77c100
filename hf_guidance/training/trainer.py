"""GuidedTrainer: a transformers.Trainer whose loss is a Guidance."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput
from transformers.utils import logging

from hf_guidance.data.annotated import can_be_judged, check_annotated
from hf_guidance.data.collator import RowCollator
from hf_guidance.data.columns import KNOWN_COLUMNS
from hf_guidance.data.default_collator import default_collator
from hf_guidance.evaluation.grounding import Grounding, default_grounding
from hf_guidance.families import Family, family_of
from hf_guidance.forward import ExplainedRows, Forward
from hf_guidance.forward.batch_norm import couples_images, freeze
from hf_guidance.forward.groups import inverse_permutation
from hf_guidance.forward.shortcuts import reduced, takes_backward
from hf_guidance.guidance import GUIDANCE_FILE, Guidance, importance_columns, smoothed
from hf_guidance.objectives import TaskLoss
from hf_guidance.training.annotation_watch import AnnotationWatch
from hf_guidance.training.arguments import StepOptions
from hf_guidance.training.compatibility import (
    RefuseAtStart,
    refuse_dispatched_batches,
    refuse_float_labels,
    refuse_unsupported,
    use_differentiable_attention,
    warn_of_reductions,
)
from hf_guidance.training.eval_collation import EvaluationDataTrainer
from hf_guidance.training.term_checks import TermChecks
from hf_guidance.training.term_log import TermLog
from hf_guidance.training.whole_checkpoints import WholeCheckpointTrainer
from hf_guidance.views import Needs
from hf_guidance.views.layers import is_module

logger = logging.get_logger(__name__)


class GuidedTrainer(WholeCheckpointTrainer, EvaluationDataTrainer):
    """Trainer that adds guidance terms to the task loss, and measures grounding when it evaluates.

    Takes everything Trainer takes. Differences: the guidance computes the loss; every log entry has ``loss/<term>`` and
    ``undefined_share/<term>``; ``evaluate()`` adds the grounding metrics; checkpoints hold guidance.json; a checkpoint that
    fails to be written leaves no incomplete folder. ``loss/<term>`` is an average over batches: a batch without annotated
    explained rows counts as 0 for terms with reduction "batch" or "sum", and is left out for terms with "rows".

    Args:
        *args: As for Trainer.
        guidance: The terms of the loss.
        family: Inputs, outputs and layers of the model's architecture; found by ``config.model_type`` when None.
        grounding: Metrics of attributions for evaluation; by default EPG, or plausibility for boxes, of the maps of the
            first term on attributions.
        eval_data_collator: Collator for evaluation and prediction. By default ``data_collator``, or the ``for_evaluation()``
            of a RowCollator: without augmentation, and with annotations as they are, not moved, dilated or shuffled.
        **kwargs: As for Trainer. Without ``data_collator``, the ``processing_class`` (an image processor) becomes a
            GuidanceCollator for the model's ``problem_type``; without either, rows must hold ``pixel_values``.

    Raises:
        ValueError: A setting under which second derivatives fail (torch.compile, DataParallel, static-graph DDP, FSDP,
            reentrant checkpointing, float16 weights), an unknown model or layer, a training set without any annotation,
            ``compute_loss_func``, a guidance that cannot be written to guidance.json.

    Example:
        >>> guidance = Guidance(energy=Term(Energy(GradCAM(layer="final")), weight=1.0, reduction="rows"))
        >>> trainer = GuidedTrainer(model, args, train_dataset=train, processing_class=processor, guidance=guidance)
        >>> trainer.train()
    """

    def __init__(
        self,
        *args: Any,
        guidance: Guidance,
        family: Family | None = None,
        grounding: Grounding | None = None,
        eval_data_collator: Any = None,
        **kwargs: Any,
    ) -> None:
        given = inspect.signature(Trainer.__init__).bind_partial(None, *args, **kwargs).arguments
        if given.get("compute_loss_func") is not None:
            raise ValueError(
                "compute_loss_func is not used: write the loss as an Objective and pass Guidance(task=...)."
            )
        guidance.to_dict()  # raises now what would otherwise end training at the first checkpoint
        self.guidance = guidance
        self._given_family = family
        self._train_log, self._eval_log = TermLog(), TermLog()
        self._evaluating = False
        self._watch, self._checks = AnnotationWatch(), TermChecks()
        self._found_family: Family | None = None
        super().__init__(*args, eval_data_collator=eval_data_collator, **kwargs)
        self.grounding = grounding or default_grounding(guidance, lambda: self.family)
        # The loss is a mean over images; the Trainer must divide it by the accumulation steps itself.
        self.model_accepts_loss_kwargs = False
        if given.get("data_collator") is None:
            self._collate_rows()
        if self.args.label_smoothing_factor:
            self.guidance = smoothed(guidance, self.args.label_smoothing_factor)
        self._importance_columns = importance_columns(self.guidance)
        self._refuse()
        self._prepare_for_gradients(self.model)

    def _collate_rows(self) -> None:
        if self._given_family is None or self._given_family.images:
            self.data_collator = default_collator(self.processing_class, getattr(self.model, "config", None))

    def _refuse(self) -> None:
        if self.guidance.differentiates:
            refuse_unsupported(self.args, self.model, self.accelerator)
            self.add_callback(RefuseAtStart)
        collator = self.data_collator if isinstance(self.data_collator, RowCollator) else None
        if collator is not None:
            refuse_dispatched_batches(self.args, self.train_dataset)
        warn_of_reductions(self.guidance, self.args)
        if self.guidance.guided:
            rows = self.train_dataset
            if collator is not None:
                check_annotated(rows, collator.sources)
                self._watch.known = can_be_judged(rows)
            self.add_callback(self._watch)
        model = self.accelerator.unwrap_model(self.model)
        needs = self.guidance.needs() | (self.grounding.needs() if self.grounding is not None else Needs())
        read = {name for view, at in reduced(needs, self.family) for name in (view.layer, at)}
        for layer in sorted(filter(is_module, read)):
            self.family.layout(self.family.path(layer, model), model)

    def _forget_model(self) -> None:
        self._found_family = None
        self._checks.reset()

    @property
    def _row_collators(self) -> list[RowCollator]:
        return [c for c in (self.data_collator, self.eval_data_collator) if isinstance(c, RowCollator)]

    @property
    def _rows(self) -> ExplainedRows:
        own = (column for collator in self._row_collators for column in collator.explained_row_columns)
        measured = () if self.grounding is None else (self.grounding.importance,)
        return ExplainedRows((*self._importance_columns, *own, *measured))

    @property
    def family(self) -> Family:
        """Inputs, outputs and layers of the model's architecture."""
        if self._given_family is not None:
            return self._given_family
        if self._found_family is None:
            self._found_family = family_of(self.accelerator.unwrap_model(self.model))
        return self._found_family

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The guidance loss of one batch; see Trainer.compute_loss. Outputs are {"loss", "logits"}."""
        if isinstance(self.guidance["task"].objective, TaskLoss):
            refuse_float_labels(self.model, inputs.get("labels"))
        if not model.training:
            return self._evaluation_loss(model, inputs, return_outputs)
        if StepOptions.of(self.args).frozen_batch_norm:
            freeze(model)
        annotated, rest, order = self._training_forwards(model, inputs)
        loss, logs = self.guidance(annotated, rest)
        self._train_log.add(logs)
        if annotated is not None:
            self._watch.seen = True
            self._checks(self.guidance, annotated, model.parameters(), self.state.global_step)
        if not return_outputs:
            return loss
        logits = torch.cat([forward.logits() for forward in (annotated, rest) if forward is not None])
        return loss, {"loss": loss, "logits": logits[order]}

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> Any:
        """Trainer's step; a batch without labels, which has no loss, is cut to the columns that the model takes."""
        if "labels" not in inputs and self._row_collators:
            inputs = {name: inputs[name] for name in self.family.inputs if name in inputs}
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

    def _training_forwards(
        self, model: nn.Module, inputs: Mapping[str, Any]
    ) -> tuple[Forward | None, Forward | None, list[int]]:
        """Forward of the annotated images, forward of the others, and the place of each image in the two joined."""
        explained = self._rows
        batch = explained.draw_one_per_image(inputs)
        images = explained.annotated_images(batch) if self.guidance.guided else []
        count = len(batch[self.family.features])
        if not images:
            return None, self._forward(model, batch, self.guidance.needs(annotated=False)), list(range(count))
        needs = self.guidance.needs()
        costly = any(takes_backward(self.family, view, layer) for view, layer in reduced(needs, self.family))
        if len(images) == count or not costly or couples_images(model):
            return self._forward(model, explained.annotated_only(batch), needs), None, list(range(count))
        others = sorted(set(range(count)) - set(images))
        annotated = self._forward(model, explained.annotated_only(explained.take_images(batch, images)), needs)
        # DistributedDataParallel's wrapper must be called once per step on every rank, whatever its batch holds.
        inner = getattr(model, "module", model)
        rest = self._forward(inner, explained.take_images(batch, others), self.guidance.needs(annotated=False))
        return annotated, rest, inverse_permutation([*images, *others])

    def _evaluation_loss(self, model: nn.Module, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        # One forward of all annotated (image, class) pairs: images keep their order, so that processes can be joined.
        explained = self._rows
        batch = explained.annotated_only(inputs)
        found = bool(explained.annotated_images(batch)) and (self.grounding is not None or bool(self.guidance.guided))
        needs = self.guidance.needs(annotated=found)
        if found and self.grounding is not None:
            needs = needs | self.grounding.needs()
        forward = self._forward(model, batch, needs)
        loss, logs = self.guidance(forward, None) if found else self.guidance(None, forward)
        if self._evaluating:
            self._eval_log.add(logs, weight=forward.images)
        if self._evaluating and self.grounding is not None:
            gather = self._gather_by_image if self.args.world_size > 1 else None
            self.grounding.add(forward if found else None, inputs, forward.images, gather)
        return (loss, {"loss": loss, "logits": forward.logits()}) if return_outputs else loss

    def _forward(self, model: nn.Module, batch: Mapping[str, Any], needs: Needs) -> Forward:
        return Forward(model, self.family, batch, needs, max_rows=StepOptions.of(self.args).max_rows)

    def _gather_by_image(self, items: list[Any]) -> list[Any]:
        gathered: list[Any] = self.accelerator.gather_for_metrics(items, use_gather_object=True)
        return gathered

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Trainer's loop, with the losses of the terms and the grounding metrics added to its metrics."""
        self._eval_log.reset()
        if self.grounding is not None:
            self.grounding.reset()
        self._evaluating = True
        try:
            output = super().evaluation_loop(*args, **kwargs)
        finally:
            self._evaluating = False
        prefix = kwargs.get("metric_key_prefix", "eval")
        measured = self._eval_log.pop(self._log_names(), self.accelerator)
        measured |= self.grounding.compute() if self.grounding is not None else {}
        if output.metrics is not None:
            output.metrics.update({f"{prefix}_{name}": value for name, value in measured.items()})
        return output

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's log, with ``loss/<term>`` and ``undefined_share/<term>`` added to training entries."""
        if "loss" in logs:
            logs = logs | self._train_log.pop(self._log_names(), self.accelerator)
        super().log(logs, start_time)

    def _log_names(self) -> list[str]:
        shares = [f"undefined_share/{name}" for name in self.guidance.on_attributions]
        return [f"loss/{name}" for name in self.guidance] + shares

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """Trainer's model_init, with attention made twice differentiable; the terms are judged again on the new model."""
        model: nn.Module = super().call_model_init(trial)
        self._forget_model()
        self._prepare_for_gradients(model)
        return model

    def _prepare_for_gradients(self, model: nn.Module) -> None:
        if self.guidance.differentiates or self.grounding is not None:
            use_differentiable_attention(model)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: list[str] = list(self._signature_columns)  # type: ignore[has-type]
        own = (column for collator in self._row_collators for column in collator.columns)
        kept = (*KNOWN_COLUMNS, *own, *sorted(self._importance_columns))
        self._signature_columns = list(dict.fromkeys([*columns, *kept]))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        file = Path(resume_from_checkpoint) / GUIDANCE_FILE
        if file.is_file() and file.read_text() != self.guidance.to_json():
            logger.warning(f"{file} holds another guidance than this trainer's; training goes on with the trainer's.")

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:  # every process gets here; only the one that made the folder writes
            self.guidance.save(output_dir or self.args.output_dir)
