"""EvaluatingTrainer: what a GuidedTrainer measures in evaluate() and predict()."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.trainer_utils import EvalLoopOutput
from transformers.utils import logging

from hf_guidance.common.generators import generators_kept
from hf_guidance.data.columns import ANNOTATED, IMPORTANCE, QUESTION, QUESTION_ID, ROLE, TARGET
from hf_guidance.evaluation.grounding import Grounding
from hf_guidance.evaluation.question_consistency import QuestionConsistency
from hf_guidance.evaluation.term_scores import TermScores
from hf_guidance.families import Family, family_of
from hf_guidance.forward import ExplainedRows, Forward
from hf_guidance.guidance import Guidance
from hf_guidance.training.arguments import StepOptions
from hf_guidance.training.eval_collation import EvaluationDataTrainer
from hf_guidance.training.loss_watch import LossWatch, without_guidance
from hf_guidance.training.metric_columns import MetricColumns, popped_columns
from hf_guidance.training.plain_batch import plain_batch
from hf_guidance.training.unexplained import refuse_unexplained
from hf_guidance.views import FULL, Needs
from hf_guidance.views.layers import LOGITS

logger = logging.get_logger(__name__)

_LABELS = "labels"  # the column that the task losses of this library read


class EvaluatingTrainer(EvaluationDataTrainer):
    """Trainer that measures the terms of a guidance, grounding and ``compute_metrics`` over a set, every row once.

    Args:
        *args: As for Trainer.
        family: Inputs, outputs and layers of the model's architecture; found when None.
        model_arguments: Further arguments of every call of the model, added to the family's.
        consistency: What is measured of triples of questions, where batches hold such; None is the default of the family.
        **kwargs: As for Trainer.

    Attributes:
        guidance: The terms.
        grounding: Metrics of attributions; None measures none.
    """

    guidance: Guidance
    grounding: Grounding | None
    _importance_columns: frozenset[str]

    def __init__(
        self,
        *args: Any,
        family: Family | None = None,
        model_arguments: Mapping[str, Any] | None = None,
        consistency: QuestionConsistency | None = None,
        **kwargs: Any,
    ) -> None:
        self._consistency = consistency
        self._model_arguments = dict(model_arguments or {})
        self._given_family = None if family is None else self._with_arguments(family)
        self._found_family: Family | None = None
        self._scores, self._metric_columns = TermScores(), MetricColumns()
        self._evaluating = False
        self._batches = 0  # of this evaluation so far
        self._labelled: bool | None = None  # whether the batches of this evaluation so far have labels
        self._unlabelled: list[str] = []  # the columns of one that has none
        self._measured: set[str] = set()  # names of the metrics that the guidance adds to those of Trainer
        super().__init__(*args, **kwargs)
        self._loss_watch = LossWatch(self)
        self.add_callback(self._loss_watch)
        # The loss is computed from the batch's labels, whatever labels the model's own forward takes, if any.
        self._labels_of_model: list[str] = list(self.label_names)  # type: ignore[has-type]
        if self.args.label_names is None:
            self.label_names = [_LABELS]

    @property
    def family(self) -> Family:
        """Inputs, outputs and layers of the model's architecture."""
        if self._given_family is not None:
            return self._given_family
        if self._found_family is None:
            self._found_family = self._with_arguments(family_of(self.accelerator.unwrap_model(self.model)))
        return self._found_family

    def _with_arguments(self, family: Family) -> Family:
        given = self._model_arguments
        return family.with_arguments(given) if given else family

    @property
    def _rows(self) -> ExplainedRows:
        own = (column for collator in self._row_collators for column in collator.explained_row_columns)
        measured = () if self.grounding is None else (self.grounding.importance,)
        return ExplainedRows((*self._importance_columns, *own, *measured), self.family.features)

    def _forward(self, model: nn.Module, batch: Mapping[str, Any], needs: Needs) -> Forward:
        return Forward(model, self.family, batch, needs, max_rows=StepOptions.of(self.args).max_rows)

    def _prepare_inputs(self, inputs: Mapping[str, Any]) -> Any:
        return super()._prepare_inputs(plain_batch(inputs, self.label_names, self._rows))

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Trainer's loop, with the losses of the terms and the grounding metrics added to its metrics."""
        self._scores.reset()
        if self.grounding is not None:
            self.grounding.reset()
        if self._consistency is not None:
            self._consistency.reset()
        self._evaluating, self._labelled, self._unlabelled = True, None, []
        self._batches = 0
        try:
            with self._columns_for_metrics():
                output = super().evaluation_loop(*args, **kwargs)
        finally:
            self._evaluating = False
        if kwargs.get("description") == "Evaluation":
            self._tell_of_unlabelled()
        prefix = kwargs.get("metric_key_prefix", "eval")
        measured = self._scores.compute(finite_only=self.args.logging_nan_inf_filter)
        for of_maps in (self.grounding, self._consistency):
            measured |= of_maps.compute() if of_maps is not None else {}
        if output.metrics is not None:
            output.metrics.update({f"{prefix}_{name}": value for name, value in measured.items()})
        self._measured.update(f"{prefix}_{name}" for name in measured if name != "loss")
        return output

    @property
    def _main_input(self) -> str:
        return getattr(self.model, "main_input_name", "input_ids")  # as Trainer reads it

    @contextmanager
    def _columns_for_metrics(self) -> Iterator[None]:
        self._metric_columns.reset()
        given: Any = self.compute_metrics  # type: ignore[has-type]
        if self.asked_columns:
            self.compute_metrics = self._metric_columns.given_to(given, self._main_input)
        try:
            yield
        finally:
            self.compute_metrics = given

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> Any:
        """Trainer's step, whatever labels the model takes; a batch without labels has logits only.

        Raises:
            ValueError: Some of ``label_names`` are missing; some batches of the set have labels and others none; or the loss
                was computed without the guidance.
        """
        self._loss_watch.stepped = True
        self._cut_nothing()
        columns = popped_columns(inputs)
        if "inputs" in self.args.include_for_metrics and self._main_input not in inputs:
            raise ValueError(
                f"include_for_metrics holds 'inputs', which is the column {self._main_input!r} of {type(self.model).__name__}, "
                f"and the batch has {sorted(inputs)}; ask for columns by name: include_for_metrics="
                f"[{self.family.features!r}]."
            )
        if not self._has_labels(inputs):
            self._unlabelled = sorted(inputs)
            inputs = self._prepare_inputs(inputs)
            with torch.no_grad(), self.compute_loss_context_manager():
                logits = self._forward(model, inputs, Needs([(FULL, LOGITS)])).logits()
            return None, None if prediction_loss_only else logits.detach(), None
        self._metric_columns.add(columns, self._gather_items)
        loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        if self._evaluating:
            if not self._scores.measured:
                raise ValueError(without_guidance(self))
            self._scores.add(loss, self.accelerator.gather_for_metrics)
        return loss, logits, labels

    def _has_labels(self, inputs: Mapping[str, Any]) -> bool:
        def has(names: list[str]) -> list[str]:
            return [name for name in names if inputs.get(name) is not None]

        if self.args.label_names is None:
            own = self._labels_of_model
            self.label_names = own if not has([_LABELS]) and own and has(own) == own else [_LABELS]
        found = has(self.label_names)
        others = [] if found else has([_LABELS])
        if found != list(self.label_names) and (found or others) and self.label_names:
            raise ValueError(
                f"label_names={list(self.label_names)}, and the batch has of these only {found}; its columns are "
                f"{sorted(inputs)}. Name the columns that the collator makes, or leave label_names unset."
            )
        labelled = bool(found)
        if self._evaluating:
            self._refuse_mixture(labelled)
        return labelled

    def _tell_of_unlabelled(self) -> None:
        if self.label_names and not {IMPORTANCE, ANNOTATED, TARGET}.isdisjoint(self._unlabelled):
            logger.warning_once(
                f"evaluate() measured neither a loss nor grounding: no batch has the labels {list(self.label_names)}, though "
                f"some have what grounding reads; their columns are {self._unlabelled}. Rename the column of labels, or set "
                "label_names."
            )

    def _refuse_mixture(self, labelled: bool) -> None:
        flags = [labelled]
        if self.args.world_size > 1:  # or the processes would wait for each other
            flags = self.accelerator.gather(torch.tensor([labelled], device=self.args.device)).tolist()
        self._labelled = flags[0] if self._labelled is None else self._labelled
        if any(flag != self._labelled for flag in flags):
            raise ValueError(
                "some batches of this set have labels and others have none, so neither a loss nor metrics are defined; "
                "evaluate the rows with labels, and predict the others apart."
            )

    def _evaluation_loss(self, model: nn.Module, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        # One forward of all annotated (image, class) pairs: images keep their order, so that processes can be joined.
        explained = self._rows
        batch = explained.annotated_only(inputs)
        triples = self._of_triples(inputs)
        measured = triples is not None or self.grounding is not None
        found = bool(explained.annotated_images(batch)) and (measured or bool(self.guidance.guided))
        needs = self.guidance.needs(annotated=found)
        if found and triples is not None:
            needs = needs | triples.needs()
        if found and self.grounding is not None:
            needs = needs | self.grounding.needs()
        if found:
            refuse_unexplained(inputs, self.guidance, self.grounding)
        with self._drawing_alike():
            forward = self._forward(model, batch, needs)
        if self._evaluating:
            loss = self._scores.measure(self.guidance, forward, found, self._real_images(forward.images))
        else:
            loss, _ = self.guidance(forward, None) if found else self.guidance(None, forward)
        if self._evaluating and self.grounding is not None:
            gather = self._gather_items if self.args.world_size > 1 else None
            self.grounding.add(forward if found else None, inputs, forward.images, gather)
        if triples is not None:
            triples.add(forward)
        return (loss, ImageClassifierOutput(loss=loss, logits=forward.logits())) if return_outputs else loss

    def _of_triples(self, inputs: Mapping[str, Any]) -> QuestionConsistency | None:
        if not self._evaluating or not {ROLE, QUESTION, QUESTION_ID} <= inputs.keys():
            return None
        if self._consistency is None:
            self._consistency = QuestionConsistency.of(self.family)
        return self._consistency

    def _drawing_alike(self) -> Any:
        # Edited images are drawn alike in every evaluation, and training goes on as if nothing had been drawn.
        if not self._evaluating:
            return nullcontext()
        self._batches += 1
        return generators_kept(self.args.device, seed=self._batches)

    def _real_images(self, images: int) -> int:
        """How many of this process's images do not merely fill up the last batch; they are the first ones."""
        state = self.accelerator.gradient_state
        if not state.end_of_dataloader or state.remainder < 1:
            return images
        left = int(state.remainder) - int(self.accelerator.process_index) * images
        return min(images, max(0, left))

    def _cut_nothing(self) -> None:
        # On one process nothing fills up the last batch, and it may hold several questions for each row of the data set:
        # gather_for_metrics, which counts rows, would cut some of them.
        loader = self.accelerator.gradient_state.active_dataloader
        if self.args.world_size == 1 and loader is not None:
            loader.remainder = 0

    def _gather_items(self, items: list[Any]) -> list[Any]:
        gathered: list[Any] = self.accelerator.gather_for_metrics(items, use_gather_object=True)
        return gathered
