"""GuidedTrainer: a transformers.Trainer whose loss is a Guidance."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.utils import logging

from hf_guidance.data.collator import RowCollator
from hf_guidance.data.columns import KNOWN_COLUMNS
from hf_guidance.data.default_collator import default_collator
from hf_guidance.data.images.transform_check import refuse_left_behind
from hf_guidance.evaluation.grounding import Grounding, all_needs, default_grounding
from hf_guidance.families import Family, words_of
from hf_guidance.forward import Forward
from hf_guidance.forward.apart import pays_apart
from hf_guidance.forward.batch_norm import freeze
from hf_guidance.forward.groups import inverse_permutation
from hf_guidance.forward.shortcuts import reduced
from hf_guidance.guidance import GUIDANCE_FILE, Guidance, TrainerTask, importance_columns, smoothed
from hf_guidance.guidance.schedule import guidance_of_step, scheduled_weights, weight_name
from hf_guidance.objectives import TaskLoss
from hf_guidance.objectives.task_loss import refuse_ignored
from hf_guidance.training.annotation_watch import AnnotationWatch
from hf_guidance.training.arguments import StepOptions
from hf_guidance.training.compatibility import (
    RefuseAtStart,
    refuse_dispatched_batches,
    refuse_unsupported,
    warn_of_reductions,
)
from hf_guidance.training.compiled.parts import StepParts
from hf_guidance.training.compiled.trainer import CompilingTrainer
from hf_guidance.training.publishing.card_trainer import CardTrainer
from hf_guidance.training.publishing.pushing import PushingTrainer
from hf_guidance.training.rows_of_epoch import RowsOfEpoch
from hf_guidance.training.run_facts import RunFacts
from hf_guidance.training.searching_trainer import GuidanceOfTrial, SearchingTrainer
from hf_guidance.training.second_order_trainer import SecondOrderTrainer
from hf_guidance.training.sharded_trainer import ShardedTrainer
from hf_guidance.training.task_labels import refuse_multi_hot, refuse_regression
from hf_guidance.training.term_checks import TermChecks
from hf_guidance.training.term_log import TermLog
from hf_guidance.training.unexplained import refuse_unexplained
from hf_guidance.views.layers import is_module

logger = logging.get_logger(__name__)


class GuidedTrainer(
    SecondOrderTrainer, CardTrainer, PushingTrainer, SearchingTrainer, ShardedTrainer, CompilingTrainer
):
    """Trainer that adds guidance terms to the task loss, and measures grounding when it evaluates.

    Takes everything Trainer takes. Differences: the guidance computes the loss, whatever labels the model's forward takes, and
    a subclass with another task loss overrides ``task_loss`` (docs/from-trainer.md); every log entry has ``loss/<term>`` and
    ``undefined_share/<term>``; ``evaluate()`` adds the grounding metrics; what is saved holds guidance.json and a model card
    (``trainer.card``); a checkpoint that fails to be written leaves no incomplete folder. In training ``loss/<term>`` is an
    average over batches: a batch without annotated explained rows counts as 0 for terms with reduction "batch" or "sum", and is
    left out for terms with "rows". In evaluation it is over the set, every row once: see TermScores.

    Args:
        *args: As for Trainer.
        guidance: The terms of the loss; or a function of a trial that returns them, so that ``hyperparameter_search`` can vary
            weights, layers and attributions. As model_init it is called with None outside a search.
        family: Inputs, outputs and layers of the model's architecture; found by ``config.model_type`` when None.
        grounding: Metrics of attributions for evaluation; by default EPG, or plausibility for boxes, of the maps of the
            first term on attributions.
        eval_data_collator: Collator for evaluation and prediction. By default ``data_collator``, or the ``for_evaluation()``
            of a RowCollator: without augmentation, and with annotations as they are, not moved, dilated or shuffled.
        model_arguments: Further arguments of every call of the model, such as ``{"interpolate_pos_encoding": True}`` for a ViT
            on images of another size than it was made for.
        consistency: What is measured of triples of questions, a QuestionConsistency; by default that of the model's family.
        **kwargs: As for Trainer. Without ``data_collator``, the ``processing_class`` (an image processor) becomes a
            GuidanceCollator for the model's ``problem_type``; without either, rows must hold ``pixel_values``.
            ``compute_metrics`` finds columns of the rows in ``prediction.inputs[name]``: those that
            ``include_for_metrics`` names beside Trainer's own two, and those that it names itself as its ``columns``.

    Raises:
        ValueError: A setting under which second derivatives fail (a compiled model, DataParallel, static-graph DDP, FSDP1,
            reentrant checkpointing, float16 weights), an unknown model or layer, a training set without any annotation, or with
            a transform that leaves boxes behind, ``compute_loss_func``, a guidance that cannot be written to guidance.json, a
            column for ``compute_metrics`` that the evaluation set lacks. In training, a loss that a subclass computes without
            the guidance, or an operation that has no double backward; the message names the module.

    Example:
        >>> guidance = Guidance(energy=Term(Energy(GradCAM(layer="final")), weight=1.0, reduction="rows"))
        >>> trainer = GuidedTrainer(model, args, train_dataset=train, processing_class=processor, guidance=guidance)
        >>> trainer.train()
    """

    def __init__(
        self,
        *args: Any,
        guidance: GuidanceOfTrial,
        family: Family | None = None,
        grounding: Grounding | None = None,
        eval_data_collator: Any = None,
        model_arguments: Mapping[str, Any] | None = None,
        consistency: Any = None,
        **kwargs: Any,
    ) -> None:
        given = inspect.signature(Trainer.__init__).bind_partial(None, *args, **kwargs).arguments
        if given.get("compute_loss_func") is not None:
            raise ValueError(
                "compute_loss_func is not used: override task_loss(self, forward) in a subclass of GuidedTrainer, or write "
                "the loss as an Objective and pass Guidance(task=...)."
            )
        self._give_guidance(guidance, grounding)
        self._watch, self._refusal, self._checks = AnnotationWatch(), RefuseAtStart(), TermChecks()
        own = {"eval_data_collator": eval_data_collator, "model_arguments": model_arguments, "consistency": consistency}
        super().__init__(*args, family=family, **own, **kwargs)
        refuse_regression(self.guidance["task"].objective, self.model)
        # The loss is a mean over images; the Trainer must divide it by the accumulation steps itself.
        self.model_accepts_loss_kwargs = False
        if given.get("data_collator") is None:
            self._collate_rows()
        self._check_evaluation_sets()
        self.add_callback(RunFacts)
        self.add_callback(RowsOfEpoch)
        if isinstance(self.data_collator, RowCollator):
            refuse_dispatched_batches(self.args, self.train_dataset)
        self._use_guidance(self.guidance)

    def _use_guidance(self, guidance: Guidance) -> None:
        # All that follows from the guidance, when the trainer is made and at every trial of a search.
        refuse_regression(guidance["task"].objective, self.model)
        self.grounding = self._given_grounding or default_grounding(guidance, lambda: self.family)
        factor = self.args.label_smoothing_factor
        self.guidance = smoothed(guidance, factor) if factor else guidance
        self._importance_columns = importance_columns(self.guidance)
        self._signature_columns: Any = None  # Trainer's memory of the columns that are kept
        self._train_log = TermLog()
        self._tell_fronts()
        self._refuse()
        self._prepare_for_gradients(self.model)

    def _with_own_task(self, guidance: Guidance) -> Guidance:
        task, name = guidance["task"], type(self).__name__
        read = task.objective if isinstance(task.objective, TrainerTask) else None  # of a guidance.json
        if type(self).task_loss is not GuidedTrainer.task_loss:
            given = read.given if read else task.objective
            if isinstance(given, TaskLoss):
                refuse_ignored(given, type(self).task_loss, type(self), GuidedTrainer)
            own = TrainerTask(name, given).of(self.task_loss)
            return Guidance({**guidance, "task": replace(task, objective=own)})
        if read:
            raise ValueError(
                f"the task of the guidance is the method {read.trainer}.task_loss, which {name} does not override; train with "
                "that class, or give Guidance(task=...) an Objective."
            )
        return guidance

    def _collate_rows(self) -> None:
        if self._given_family is None and words_of(self.family.inputs) and self.family.images:
            raise ValueError(
                f"{type(self.model).__name__} takes text beside images, which the default collator does not make; give a data_"
                f"collator that makes {words_of(self.family.inputs)}, and the columns of explained rows (docs/from-trainer.md)."
            )
        if self._given_family is None or self._given_family.images:
            self.data_collator = default_collator(self.processing_class, getattr(self.model, "config", None))

    def _refuse(self) -> None:
        if self.guidance.differentiates:
            self._settle_compiling()
            refuse_unsupported(self.args, self.model, self.accelerator)
        warn_of_reductions(self.guidance, self.args)
        if self.guidance.guided and isinstance(self.data_collator, RowCollator) and not self._watch.judged:
            self._watch.judge(self.train_dataset, self.data_collator.sources)
            refuse_left_behind(self.train_dataset, self.data_collator.sources)
        self._with_callback(self._refusal, self.guidance.differentiates)
        self._with_callback(self._watch, bool(self.guidance.guided))
        model = self.accelerator.unwrap_model(self.model)
        self.family.check_call(model)
        needs = all_needs(self.guidance, self.grounding)
        read = {name for view, at in reduced(needs, self.family) for name in (view.layer, at)}
        for layer in sorted(filter(is_module, read)):
            self.family.layout(self.family.path(layer, model), model)
        self._settle_sharding()

    def _forget_model(self) -> None:
        self._found_family = None
        self._checks.reset()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The guidance loss of one batch; see Trainer.compute_loss. Outputs are a ModelOutput of loss and logits.

        A subclass may add to its result, but must call it; another loss of the task goes into ``task_loss``.
        """
        refuse_multi_hot(self.guidance["task"].objective, self.model, inputs.get("labels"))
        if not model.training:
            return self._evaluation_loss(model, inputs, return_outputs)
        self._loss_watch.computed = True
        if StepOptions.of(self.args).frozen_batch_norm:
            freeze(model)
        every, state = StepOptions.of(self.args).guide_every, self.state
        steps = state.max_steps if self.is_in_train else 0  # which stays after a training
        guidance = guidance_of_step(self.guidance, every, state.global_step, steps)
        parts = self._training_parts(model, inputs, guidance)
        found = None if return_outputs else self._by_graph(model, guidance, parts)
        annotated, rest = (None, None) if found else self._forwards(model, guidance, parts)
        loss, logs = found or guidance(annotated, rest)
        self._train_log.add(logs | scheduled_weights(guidance, loss.device))
        if annotated is not None:
            self._checks(guidance, annotated, model.parameters(), self.state.global_step)
        if not return_outputs:
            return loss
        logits = torch.cat([forward.logits() for forward in (annotated, rest) if forward is not None])
        return loss, ImageClassifierOutput(loss=loss, logits=logits[parts.order])

    def task_loss(self, forward: Forward) -> Tensor:
        """The task loss of every image: override it where you would override ``Trainer.compute_loss``.

        Runs in training and in evaluation, on all images, annotated or not; the terms of the guidance are added to it. In
        guidance.json the task is then a TrainerTask with the name of the class.

        Args:
            forward: ``forward.logits()`` is (images, classes); ``forward.column(name)`` a column of the collated batch,
                such as "labels" or "pixel_values".

        Returns:
            (images,), as ``reduction="none"`` gives; by default the task of the Guidance.

        Example:
            >>> class Distilling(GuidedTrainer):
            ...     def task_loss(self, forward):
            ...         with torch.no_grad():
            ...             taught = teacher(forward.column("pixel_values")).logits.softmax(-1)
            ...         return super().task_loss(forward) + F.cross_entropy(forward.logits(), taught, reduction="none")
        """
        task = self.guidance["task"].objective
        return (task.given if isinstance(task, TrainerTask) else task)(forward)

    def _training_parts(self, model: nn.Module, inputs: Mapping[str, Any], guidance: Guidance) -> StepParts:
        """The images that this step guides, and the others."""
        explained = self._rows
        if self.guidance.guided:
            refuse_unexplained(inputs, self.guidance)
        batch = explained.draw_one_per_image(inputs)
        images = explained.annotated_images(batch) if self.guidance.guided else []
        count = explained.images(batch)
        self._watch.look(self.guidance.guided, self.family, explained, batch, images)
        if not (images and guidance.guided):
            return StepParts(None, batch, list(range(count)))
        if len(images) == count or not pays_apart(guidance.needs(), self.family, model):
            return StepParts(explained.annotated_only(batch), None, list(range(count)))
        others = sorted(set(range(count)) - set(images))
        annotated = explained.annotated_only(explained.take_images(batch, images))
        rest = explained.take_images(batch, others)
        return StepParts(annotated, rest, inverse_permutation([*images, *others]))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's log, with ``loss/<term>``, ``undefined_share/<term>`` and scheduled ``weight/<term>`` in training."""
        if "loss" in logs:
            logs = logs | self._train_log.pop(self._log_names(), self.accelerator)
        super().log(logs, start_time)

    def _log_names(self) -> list[str]:
        shares = [f"undefined_share/{name}" for name in self.guidance.on_attributions]
        weights = [weight_name(name) for name, term in self.guidance.items() if term.schedule is not None]
        return [f"loss/{name}" for name in self.guidance] + shares + weights

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """Trainer's model_init, with attention made twice differentiable; the terms are judged again on the new model."""
        model: nn.Module = super().call_model_init(trial)
        self._forget_model()
        self._prepare_for_gradients(model)
        return model

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        own = (column for collator in self._row_collators for column in collator.columns)
        kept = (*self._signature_columns, *KNOWN_COLUMNS, *own, *sorted(self._importance_columns), *self.asked_columns)
        self._signature_columns = list(dict.fromkeys(kept))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        file = Path(resume_from_checkpoint) / GUIDANCE_FILE
        if file.is_file() and file.read_text() != self.guidance.to_json():
            logger.warning(f"{file} holds another guidance than this trainer's; training goes on with the trainer's.")

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:  # every process gets here; only the one that made the folder writes
            self.guidance.save(output_dir or self.args.output_dir)
