"""A search for test_distributed_search.py, by torchrun with two processes: the guidance draws on the first one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from digit_models import build
from transformers import ViTImageProcessor

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, Term, dataset_builder
from hf_guidance.attributions import InputXGradient
from hf_guidance.objectives import Energy


def guidance(trial):
    return Guidance(
        energy=Term(Energy(InputXGradient("input")), 1.0 if trial is None else trial.suggest_float("w", 1, 9))
    )


class Noting(GuidedTrainer):
    weights: tuple = ()

    def train(self, *args, **kwargs):
        result = super().train(*args, **kwargs)
        self.weights += (self.guidance["energy"].weight,)
        return result


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    builder = dataset_builder(
        "digits_on_photos", image_size=32, digit_size=16, train_size=16, validation_size=0, test_size=8,
        cache_dir=str(folder / "data"),
    )  # fmt: skip
    builder.download_and_prepare()
    splits = builder.as_dataset()
    args = GuidanceArguments(
        str(folder / "out"), per_device_train_batch_size=4, num_train_epochs=1, report_to="none", save_strategy="no",
        use_cpu=True, disable_tqdm=True, frozen_batch_norm=True, dataloader_pin_memory=False, ddp_backend="gloo",
    )  # fmt: skip
    trainer = Noting(
        None, args, model_init=lambda: build("resnet"), train_dataset=splits["train"], eval_dataset=splits["test"],
        processing_class=ViTImageProcessor(size={"height": 32, "width": 32}), guidance=guidance,
    )  # fmt: skip
    trainer.hyperparameter_search(
        lambda trial: {}, lambda metrics: metrics["eval_epg"], n_trials=2, direction="maximize", backend="optuna"
    )
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(trainer.weights))
