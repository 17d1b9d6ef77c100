"""WholeCheckpointTrainer: a Trainer that writes and loads checkpoints whole, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import nn
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from hf_guidance.common.wrappers import unwrapped
from hf_guidance.models.channel_mask.loading import refuse_other_mask
from hf_guidance.training.best_model import BestModelWatch, settle_direction
from hf_guidance.training.checkpoint_adapters import load_adapters, save_beside, saves_adapters
from hf_guidance.training.checkpoint_weights import load_weights
from hf_guidance.training.left_over_weights import remove_left_over

logger = logging.get_logger(__name__)


class WholeCheckpointTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose resume and ``load_best_model_at_end`` leave no trained tensor at its initial value.

    transformers' own loads the names of the file as they are, and only warns of those that do not fit: the trained blocks of
    ViT, DeiT and Swin, which are written under earlier names, would be lost. Here names are converted as
    ``from_pretrained`` does, and what is missing, left over or of another shape is a ValueError that names it. A checkpoint
    that fails to be written leaves no incomplete folder. Weights that an earlier save left in a folder, such as adapters where
    the whole model is saved now, are deleted with a warning, for they would be loaded with the new ones or instead of them.

    The best model is the one that is best by the metric: ``greater_is_better`` is checked against it.

    Args:
        *args: As for Trainer.
        **kwargs: As for Trainer.

    Raises:
        ValueError: ``greater_is_better`` contradicts ``metric_for_best_model``; on loading, a checkpoint that does not fit,
            or with another channel mask.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sets = self.eval_dataset if isinstance(self.eval_dataset, dict) else ()
        settle_direction(self.args, sets)
        self.add_callback(BestModelWatch)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self._sharded():
            refuse_other_mask(unwrapped(self.model if model is None else model), resume_from_checkpoint)
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self._load_whole(self.model if model is None else model, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        if self._sharded():
            super()._load_best_model()
        else:
            logger.info(f"Loading the best model, of {self.state.best_model_checkpoint}.")
            self._load_whole(self.model, self.state.best_model_checkpoint)

    def _sharded(self) -> bool:
        """Whether FSDP or DeepSpeed loads the model, by the names that it wrote."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _load_whole(self, model: Any, folder: str | Path) -> None:
        refuse_other_mask(unwrapped(model), folder)
        if saves_adapters(model):
            load_adapters(model, folder)
        else:
            load_weights(model, folder)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        if saves_adapters(self.model):
            save_beside(self.model, folder, state_dict)
        remove_left_over(self.accelerator.unwrap_model(self.model, keep_torch_compile=False), folder)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        new = not folder.exists()
        try:
            super()._save_checkpoint(model, trial)
        except BaseException:
            # For example a full disk: resuming must find the previous checkpoint, not a part of this one.
            if new and self.args.should_save:
                shutil.rmtree(folder, ignore_errors=True)
            raise
