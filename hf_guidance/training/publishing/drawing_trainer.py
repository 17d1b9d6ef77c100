"""DrawingTrainer: a Trainer that draws the maps of its model before training and now, of the same images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import nn
from transformers.utils import logging

from hf_guidance.common.eval_mode import evaluating
from hf_guidance.common.generators import generators_kept
from hf_guidance.evaluation.displayed import displayed
from hf_guidance.training.evaluating_trainer import EvaluatingTrainer
from hf_guidance.training.metric_columns import popped_columns
from hf_guidance.training.plain_batch import plain_batch
from hf_guidance.training.publishing.maps_picture import draw_maps
from hf_guidance.training.publishing.sample import Sample, sample_of
from hf_guidance.training.whole_checkpoints import WholeCheckpointTrainer

logger = logging.get_logger(__name__)


class DrawingTrainer(WholeCheckpointTrainer, EvaluatingTrainer):
    """Trainer that keeps the maps of four annotated images from before training, and draws them beside those of now.

    The images are of the first evaluation set, else of the training set. What is kept lies in ``output_dir`` from the first
    save on, so that a resumed run goes on with it. The model, its gradients and all generators stay as they are.

    Args:
        *args: As for Trainer.
        **kwargs: As for Trainer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._sample: Sample | None = None
        self._sample_saved = True
        self._resumed_from: Path | None = None
        super().__init__(*args, **kwargs)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._resumed_from = Path(resume_from_checkpoint).parent

    def _keep_maps_from_before(self) -> None:
        """Draw the maps of the model before training, or read those of the run that is resumed."""
        self._sample, self._sample_saved = None, False
        if not self.args.should_save:
            return
        with self._told("the card will not show maps from before training"):
            if self.state.global_step:
                folders = (Path(self.args.output_dir), self._resumed_from)
                found = (Sample.load(folder) for folder in folders if folder is not None)
                self._sample = next((sample for sample in found if sample is not None), None)
            else:
                self._sample = self._chosen()
                if self._sample is not None:
                    self._sample.before = [drawn for _, drawn, _ in self._maps(self._sample)]

    def _save_sample(self) -> None:
        """Write what is kept into ``output_dir``, once in a training."""
        if self._sample is not None and not self._sample_saved:
            self._sample.save(Path(self.args.output_dir))
            self._sample_saved = True

    @contextmanager
    def _told(self, what: str, more: str = "") -> Iterator[None]:
        """Make a warning of an error inside the block: a card must not end a training."""
        try:
            yield
        except Exception as error:
            told = f"{what} ({type(error).__name__}: {error}). Training and saving go on. {more}"
            logger.warning(told.rstrip(), exc_info=True)

    def _chosen(self) -> Sample | None:
        """Images to draw, of the first evaluation set, else of the training set."""
        if self.grounding is None or self._sharded():
            return None
        held_out: Any = self.eval_dataset  # type: ignore[has-type]
        held_out = next(iter(held_out.values()), None) if isinstance(held_out, dict) else held_out
        id2label = getattr(getattr(self.model, "config", None), "id2label", None)
        tokenizer = getattr(self._own_collator(), "tokenizer", None)
        sources = [name for collator in self._row_collators for name in collator.sources]
        for rows, of_evaluation in ((held_out, True), (self.train_dataset, False)):
            if isinstance(rows, datasets.Dataset):
                rows = self._remove_unused_columns(rows, "evaluation")
            with generators_kept():
                found = sample_of(rows, sources, self._collated, self._rows, id2label, of_evaluation, tokenizer)
            if found is not None:
                return found
        return None

    def _collated(self, rows: list[Any]) -> dict[str, Any]:
        batch = self._collator_for_evaluation()(rows)
        popped_columns(batch)
        return plain_batch(batch, self.label_names, self._rows)

    def _maps(self, sample: Sample) -> list[tuple[int, Any, Any]]:
        """(image, map, importance) of every image, of the model as it is; nothing of it changes."""
        assert self.grounding is not None
        model = self.accelerator.unwrap_model(self.model)
        device = self.args.device
        with evaluating(model), torch.no_grad(), generators_kept(device), self.compute_loss_context_manager():
            batch = self._prepare_inputs(sample.batch)
            return self.grounding.pairs_of(self._forward(model, batch, self.grounding.attribution.needs()))

    def _draw(self, folder: Path) -> str | None:
        """Write the picture; its caption, or None where there is nothing to draw."""
        sample = self._sample or self._chosen()
        if sample is None:
            return None
        pairs = self._maps(sample)
        now = f"after {self.state.global_step} steps" if self.state.global_step else "now"
        columns: dict[str, Sequence[Any]] = {}
        if sample.before is not None and self.state.global_step:
            columns["before training"] = sample.before
        columns[now] = [drawn for _, drawn, _ in pairs]
        owners = [image for image, _, _ in pairs]  # several words may be of one image
        boxes = sample.batch.get("visual_pos")
        images = sample.batch.get(self.family.features) if self.family.images else None
        drawn = draw_maps(
            folder,
            None if images is None else displayed(images[owners], self._image_processor()),
            None if boxes is None else boxes[owners].float().numpy(),
            [marked for _, _, marked in pairs],
            sample.names,
            columns,
        )
        return self._caption(sample) if drawn else None

    def _own_collator(self) -> Any:
        collator = self.plain_collator_for_evaluation()
        return getattr(collator, "explained", collator)

    def _image_processor(self) -> Any:
        """What makes the pixels: of captioners that of the collator, since beside the model lies a tokenizer."""
        return getattr(self._own_collator(), "image_processor", None) if self.family.times else self.processing_class

    def _caption(self, sample: Sample) -> str:
        assert self.grounding is not None
        rows = "of the evaluation set" if sample.held_out else "of the training set"
        read, named = self.grounding.attribution, "word" if self.family.times else "class"
        return (
            f"Maps of {type(read).__name__} at layer “{read.layer}” for the {named} named, of annotated rows {rows}. Frames "
            "are around what people marked; above each map is the share of its positive attribution that lies on it."
        )
