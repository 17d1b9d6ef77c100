"""CardTrainer: a Trainer that writes the card of its model at every save, and its arguments without secrets."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback
from transformers.modelcard import extract_hyperparameters_from_trainer
from transformers.trainer_utils import HubStrategy
from transformers.utils import logging

from hf_guidance.common.whole_file import whole_file
from hf_guidance.guidance import GUIDANCE_FILE
from hf_guidance.training.arguments import StepOptions
from hf_guidance.training.publishing.annotations import AnnotationFacts, RowsFacts
from hf_guidance.training.publishing.caption_usage import CaptionUse
from hf_guidance.training.publishing.card_options import CardOptions, listed
from hf_guidance.training.publishing.drawing_trainer import DrawingTrainer
from hf_guidance.training.publishing.hidden_secrets import hide_secrets
from hf_guidance.training.publishing.maps_picture import PICTURE
from hf_guidance.training.publishing.model_card import MARK, CardFacts, model_card, own_words_of
from hf_guidance.training.publishing.results import Evaluations, unguided_metrics
from hf_guidance.training.publishing.usage import CAPTIONS, IMAGES, QUESTIONS

logger = logging.get_logger(__name__)

CARD = "README.md"


class CardTrainer(DrawingTrainer):
    """Trainer that writes README.md beside every model it saves; a failure to write one is a warning and ends no training.

    Args:
        *args: As for Trainer.
        **kwargs: As for Trainer.

    Attributes:
        card: What its cards say beyond what it knows, such as the licence; see CardOptions.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.card = CardOptions()
        self._evaluations = Evaluations()
        self._in_checkpoint = False
        self._counted: tuple[int, AnnotationFacts] | None = None
        super().__init__(*args, **kwargs)
        hide_secrets(self.args)
        self.add_callback(_AtBegin(self))

    def create_model_card(
        self,
        language: str | list[str] | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
        unguided: str | Path | Mapping[str, float] | None = None,
    ) -> None:
        """Write README.md and a picture of maps into ``output_dir``; what is given is kept in ``trainer.card``.

        Args:
            language: As for Trainer, as all but the last; see CardOptions.
            license: Likewise.
            tags: Likewise.
            model_name: Likewise.
            finetuned_from: Likewise.
            tasks: Likewise.
            dataset_tags: Likewise.
            dataset: Likewise.
            dataset_args: Likewise.
            unguided: The same model trained without guidance: the ``output_dir`` of its run, or its metrics.

        Raises:
            ValueError: ``unguided`` holds no evaluation.

        Example:
            >>> trainer.create_model_card(license="apache-2.0", unguided="runs/unguided")
        """
        options = self.card.updated(
            CardOptions(
                language,
                license,
                tags,
                model_name,
                finetuned_from,
                tasks,
                dataset_tags,
                dataset,
                dataset_args,
                unguided,
            )
        )
        unguided_metrics(options.unguided, self._evaluations.prefixes)
        self.card = options
        if self.is_world_process_zero():
            self._write_card(Path(self.args.output_dir))

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Trainer's evaluation; what it measures is told by the card."""
        metrics: dict[str, float] = super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        own: Any = self.eval_dataset  # type: ignore[has-type]
        rows = own if eval_dataset is None else own[eval_dataset] if isinstance(eval_dataset, str) else eval_dataset
        if not isinstance(rows, dict):  # which Trainer evaluates one by one
            self._evaluations.note(metric_key_prefix, metrics, self.state.global_step, rows)
        return metrics

    def _load_best_model(self) -> None:
        super()._load_best_model()
        self._evaluations.weights_are_of(int(self.state.best_global_step or 0), self.state.log_history)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        free = self.args.should_save and _may_write(folder / CARD)  # before PEFT writes its own
        own = (folder / CARD).read_bytes() if self.args.should_save and not free else None
        hide_secrets(self.args)
        super()._save(output_dir, state_dict)
        if own is not None:  # PEFT writes into it
            with whole_file(folder / CARD) as draft:
                draft.write_bytes(own)
        if free:
            with self._told(f"{folder}: the model card is missing", "trainer.create_model_card() raises the error."):
                self._save_sample()
                # A picture takes some tenths of a second, which a checkpoint that stays here is not worth.
                self._write_card(folder, picture=self.args.push_to_hub or not self._in_checkpoint)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self._in_checkpoint = True
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._in_checkpoint = False

    def _may_replace_card(self) -> bool:
        return _may_write(Path(self.args.output_dir) / CARD)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        hide_secrets(self.args)
        if self.is_world_process_zero() and self.args.hub_strategy != HubStrategy.END:
            for name in (CARD, PICTURE, GUIDANCE_FILE):  # Trainer copies the weights
                if name == CARD and not _may_write(Path(self.args.output_dir) / CARD):
                    continue
                if (Path(checkpoint_folder) / name).is_file():
                    shutil.copy(Path(checkpoint_folder) / name, self.args.output_dir)
        super()._push_from_checkpoint(checkpoint_folder)

    def _training_begins(self) -> None:
        history: list[dict[str, Any]] = self.state.log_history
        self._evaluations.training_begins(self.state.global_step, history)
        self._keep_maps_from_before()

    def _write_card(self, folder: Path, picture: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        caption = None
        with self._told(f"{folder}: the card has no picture of maps"):
            caption = self._draw(folder) if picture else None
        file = folder / CARD
        kept = next((one for one in (file, Path(self.args.output_dir) / CARD) if one.is_file()), None)
        words = own_words_of(kept.read_text(encoding="utf-8", errors="replace")) if kept else ""
        text = model_card(self._facts(caption, words))
        with whole_file(file) as draft:
            draft.write_text(text, encoding="utf-8", newline="\n")

    def _facts(self, caption: str | None, own_words: str) -> CardFacts:
        model = self.accelerator.unwrap_model(self.model)
        repo = getattr(self, "hub_model_id", None) or self.args.hub_model_id
        name = self.card.model_name or (repo or Path(self.args.output_dir).absolute().name).split("/")[-1]
        family = self.family
        task = CAPTIONS if family.times else QUESTIONS if "input_ids" in family.inputs else IMAGES
        return CardFacts(
            name=name,
            repo=repo if repo and "/" in repo else None,
            model=model,
            guidance=self.guidance,
            task=next(iter(listed(self.card.tasks)), task),
            options=self.card,
            annotations=self.annotation_facts(),
            evaluated={prefix: RowsFacts.of(rows) for prefix, rows in self._evaluated().items()},
            now=self._evaluations.now,
            current=self._evaluations.current(self.state.global_step),
            before=self._evaluations.before,
            unguided=self._unguided(),
            step=self.state.global_step,
            history=self.state.log_history,
            picture=caption,
            processor=self.family.images and hasattr(self.processing_class, "save_pretrained"),
            training=extract_hyperparameters_from_trainer(self),
            own_words=own_words,
            captions=CaptionUse.of(self.data_collator, self.processing_class, family.images) if family.times else None,
            guide_every=StepOptions.of(self.args).guide_every,
        )

    def _unguided(self) -> dict[str, float]:
        """What was measured of the model without guidance, where some of it was measured of this one, too."""
        found, now = unguided_metrics(self.card.unguided, self._evaluations.prefixes), self._evaluations.now
        if found and now and not found.keys() & now.keys():
            logger.warning(
                f"unguided= has {sorted(found)}, and this model was measured by {sorted(now)}: no name is the same, so the "
                "card has no column 'without guidance'. Give the metrics by the names that evaluate() of this trainer returns."
            )
            return {}
        return found

    def annotation_facts(self) -> AnnotationFacts:
        """What guides: the rows, how many of them are annotated, by what; counted once."""
        if self._counted is None or self._counted[0] != id(self.train_dataset):
            self._counted = (id(self.train_dataset), AnnotationFacts.of(self.train_dataset, self.data_collator))
        return self._counted[1]

    def _evaluated(self) -> dict[str, Any]:
        """Data sets by the prefix of their metrics; after a resume, those that the trainer was given."""
        given: Any = self.eval_dataset  # type: ignore[has-type]
        sets = {f"eval_{name}": rows for name, rows in given.items()} if isinstance(given, dict) else {"eval": given}
        named = {prefix: rows for prefix, rows in sets.items() if rows is not None} | self._evaluations.rows
        measured = list(self._evaluations.now)
        return {
            prefix: rows for prefix, rows in named.items() if any(name.startswith(f"{prefix}_") for name in measured)
        }


class _AtBegin(TrainerCallback):  # type: ignore[misc]
    def __init__(self, trainer: CardTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Draw the maps of the model before training, or read those of the run that is resumed."""
        self._trainer._training_begins()


def _may_write(card: Path) -> bool:
    """Whether there is no card yet, or one that a trainer wrote; a README of someone's own stays."""
    if not card.is_file() or MARK in card.read_text(encoding="utf-8", errors="replace"):
        return True
    logger.warning_once(
        f"{card} was not written by hf_guidance, and stays; trainer.create_model_card() would replace the one in output_dir."
    )
    return False
