"""BaselineTrainer: a trainer whose training loss is that of a compared method without maps."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset
from transformers import Trainer
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.trainer_utils import TrainOutput

from hf_guidance.common.wrappers import unwrapped
from hf_guidance.forward import Forward
from hf_guidance.forward.batch_norm import freeze
from hf_guidance.guidance import Guidance, Term, TrainerTask
from hf_guidance.objectives import TaskLoss
from hf_guidance.training.arguments import StepOptions
from hf_guidance.training.baselines.classifier import Classifier
from hf_guidance.training.baselines.further_models import FurtherModels
from hf_guidance.training.baselines.method import Method, MethodRun, Step
from hf_guidance.training.baselines.rows import INDEX, IndexedRows, WithIndex
from hf_guidance.training.baselines.setting import Setting
from hf_guidance.training.baselines.state_file import load_state, save_state
from hf_guidance.training.trainer import GuidedTrainer


class BaselineTrainer(GuidedTrainer):
    """GuidedTrainer that trains with a compared method in the place of a guidance.

    Evaluation, grounding, collators, cards and whole checkpoints are GuidedTrainer's; evaluated images have the cross-entropy
    as their loss. What the method remembers (weights of groups, averages per row, error sets, a second model with its
    optimizer) is part of every checkpoint, and a resumed training goes on as if it had not been interrupted. guidance.json
    names the method and its settings as the trainer of the task.

    Args:
        *args: As for Trainer.
        method: The method, such as ``JtT(copies=20)``.
        **kwargs: As for GuidedTrainer, without ``guidance``.

    Raises:
        ValueError: ``method`` is none; a guidance beside it; a multi-label model; a streaming training set; float16, DeepSpeed
            or FSDP; several processes with a method whose state would differ between them. In training, what the method
            refuses.

    Example:
        >>> from hf_guidance.training.baselines import BaselineTrainer, JtT
        >>> trainer = BaselineTrainer(model, args, method=JtT(copies=20), train_dataset=train, processing_class=processor)
        >>> trainer.train()
    """

    def __init__(self, *args: Any, method: Method, **kwargs: Any) -> None:
        if not isinstance(method, Method) or type(method) is Method:
            raise ValueError(
                f"method={method!r} is no method; give one of hf_guidance.training.baselines, such as JtT()."
            )
        given = inspect.signature(Trainer.__init__).bind_partial(None, *args, **_of_trainer(kwargs)).arguments
        if "guidance" in kwargs:
            raise ValueError(
                f"guidance= beside method={type(method).__name__}: BaselineTrainer trains with the method alone. Leave it out, "
                "or train with GuidedTrainer(guidance=...)."
            )
        _refuse_stream(given.get("train_dataset"))
        self.method = method
        self._run: MethodRun | None = None
        self._further: FurtherModels | None = None
        self._method_checkpoint: str | None = None
        self._logged: dict[str, None] = {}
        super().__init__(*args, guidance=Guidance(), **kwargs)
        self._own_optimizer = self.optimizer is not None
        self._refuse_settings()

    def _refuse_settings(self) -> None:
        name, config = type(self.method).__name__, getattr(self.model, "config", None)
        if getattr(config, "problem_type", None) == "multi_label_classification":
            raise ValueError(
                f"{name} is for one class per image, and the model's problem_type is 'multi_label_classification'; build it "
                "with problem_type='single_label_classification'."
            )
        if self.args.fp16 or self._sharded():
            raise ValueError(
                f"{name} with fp16, DeepSpeed or FSDP is not supported: train with bf16 or in full precision."
            )
        if self.args.world_size > 1 and (self.method.fits or not self.method.several_processes):
            raise ValueError(
                f"{name} on {self.args.world_size} processes: its state would differ between them. Train in one process, with "
                "gradient_accumulation_steps for large batches."
            )

    def _with_own_task(self, guidance: Guidance) -> Guidance:
        # Saved models and their cards say by what they were trained.
        task = TrainerTask(f"BaselineTrainer(method={self.method!r})", TaskLoss()).of(self.task_loss)
        return Guidance(task=Term(task))

    def task_loss(self, forward: Forward) -> Tensor:
        """The cross-entropy of every evaluated image; in training the method computes the loss."""
        return TaskLoss()(forward)

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Trainer's training with the method; a method that trains no epochs (DFR) changes the model at once.

        Raises:
            ValueError: What the method refuses; a checkpoint of another method, or one to resume where there are no epochs.
        """
        self._run, self._method_checkpoint, self._logged = None, None, {}
        if not self.method.fits:
            return super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)
        if resume_from_checkpoint or trial is not None:
            raise ValueError(
                f"{type(self.method).__name__} fits the model at once, so there is nothing to resume and no trial; call "
                "train() without arguments."
            )
        metrics = self.method.fit(self._setting())
        self.log(dict(metrics))
        return TrainOutput(self.state.global_step, metrics.get("train_loss", 0.0), metrics)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Trainer's loader of the rows that the method draws; batches hold the index of each row."""
        rows: Any = self.train_dataset  # type: ignore[has-type]
        run, collator = self._begun(), self.data_collator
        self.train_dataset, self.data_collator = IndexedRows(self._read_rows(), run.order), WithIndex(collator)
        try:
            loader: DataLoader[Any] = super().get_train_dataloader()
        finally:
            self.train_dataset, self.data_collator = rows, collator
        return loader

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Any:
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        own = self._begun().sampler(self._train_batch_size, seed)
        return super()._get_train_sampler(train_dataset) if own is None else own

    def _read_rows(self) -> Any:
        _refuse_stream(self.train_dataset)
        if self.train_dataset is None:
            raise ValueError("BaselineTrainer: training requires a train_dataset.")
        if isinstance(self.train_dataset, datasets.Dataset):
            return self._remove_unused_columns(self.train_dataset, "training")
        return self.train_dataset

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if INDEX not in self._signature_columns:
            self._signature_columns.append(INDEX)

    def _setting(self) -> Setting:
        model = unwrapped(self.accelerator.unwrap_model(self.model))
        collator, rows = self.plain_collator_for_evaluation(), self._read_rows()
        if not isinstance(rows, datasets.Dataset):
            collator = self._get_collator_with_removed_columns(collator, "training")

        def loader() -> DataLoader[Any]:
            workers = self.args.dataloader_num_workers
            return DataLoader(rows, self.args.eval_batch_size, collate_fn=collator, num_workers=workers)

        seed, classifier = self.args.seed, Classifier(model, self.family)
        autocast = self.compute_loss_context_manager
        # The columns that a method reads need not be those that the step reads.
        return Setting(
            classifier, self.train_dataset, loader, self._prepare_inputs, autocast, self.args.device, seed,
            self.data_collator,
        )  # fmt: skip

    def _begun(self) -> MethodRun:
        """The method in this training, begun or resumed when it is first asked for."""
        if self._run is None:
            setting, saved, folder = self._setting(), None, self._method_checkpoint
            if folder is not None:
                saved = load_state(folder, type(self.method).__name__, len(setting))
            run = self.method.begin(setting, None if saved is None else saved["state"])
            run.to(self.args.device)
            if self._further is not None:
                self.remove_callback(self._further)
            if run.models and self._own_optimizer:
                raise ValueError(
                    f"{type(self.method).__name__} trains a second model, which optimizers= does not update; give the kind of "
                    "optimizer for both: optimizer_cls_and_kwargs=(torch.optim.Adam, {'lr': 1e-4}), or optim= of the arguments."
                )
            self._further = FurtherModels(self, run.models, run.rate) if run.models else None
            if self._further is not None:
                self.add_callback(self._further)
                if saved is not None:
                    self._further.load(saved)
            self._run = run
        return self._run

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of the method in training; in evaluation the cross-entropy, as GuidedTrainer's."""
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self._loss_watch.computed = True
        run = self._begun()
        for each in run.models.values():
            each.train()
        for each in (model, *run.models.values()) if StepOptions.of(self.args).frozen_batch_norm else ():
            freeze(each)
        batch = {name: value for name, value in inputs.items() if name != INDEX}
        loss, logs = run.loss(Step(Classifier(model, self.family), batch, inputs[INDEX], self.state.epoch or 0.0))
        self._logged |= dict.fromkeys(logs)
        self._train_log.add({f"loss/{name}": value for name, value in logs.items()})
        return (loss, ImageClassifierOutput(loss=loss)) if return_outputs else loss

    def _log_names(self) -> list[str]:
        return [f"loss/{name}" for name in self._logged]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._method_checkpoint = resume_from_checkpoint

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            content: dict[str, Any] = {"kind": type(self.method).__name__, "rows": len(self._read_rows())}
            content |= {"state": {name: value.cpu() for name, value in self._begun().state().items()}}
            save_state(Path(output_dir), content | (self._further.state() if self._further is not None else {}))


def _of_trainer(options: Mapping[str, Any]) -> dict[str, Any]:
    known = inspect.signature(Trainer.__init__).parameters
    return {name: value for name, value in options.items() if name in known}


def _refuse_stream(rows: Any) -> None:
    if isinstance(rows, IterableDataset | datasets.IterableDataset):
        raise ValueError(
            "a streaming training set: the compared methods read rows by their index. Give a dataset with a length, for "
            "example datasets.Dataset.from_list(list(stream))."
        )
