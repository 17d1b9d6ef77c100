"""One training run for each kind of model, for test_distributed.py: by torchrun with two processes, or plainly with one."""

from __future__ import annotations

import os
import sys

import torch
from conftest import build
from transformers import ViTImageProcessor

from hf_guidance import (
    Grounding,
    Guidance,
    GuidanceArguments,
    GuidedTrainer,
    Term,
    dataset_builder,
    with_annotated_fraction,
)
from hf_guidance.attributions import InputXGradient
from hf_guidance.objectives import Energy


def train(kind: str, batch: int, folder: str) -> None:
    builder = dataset_builder(
        "digits_on_photos", image_size=32, digit_size=16, train_size=32, validation_size=0, test_size=8,
        cache_dir=folder + "/data",
    )  # fmt: skip
    builder.download_and_prepare()
    splits = builder.as_dataset()
    gloo = {"ddp_backend": "gloo"} if "WORLD_SIZE" in os.environ else {}
    args = GuidanceArguments(
        output_dir=folder, per_device_train_batch_size=batch, per_device_eval_batch_size=2, num_train_epochs=2,
        learning_rate=1e-3, report_to="none", save_strategy="epoch", logging_steps=1, use_cpu=True, disable_tqdm=True,
        frozen_batch_norm=True, lr_scheduler_type="constant", dataloader_pin_memory=False, **gloo,
    )  # fmt: skip
    attribution = InputXGradient("input")
    trainer = GuidedTrainer(
        model=build(kind), args=args, train_dataset=with_annotated_fraction(splits["train"], 0.25, seed=1),
        eval_dataset=splits["test"], processing_class=ViTImageProcessor(size={"height": 32, "width": 32}),
        guidance=Guidance(energy=Term(Energy(attribution), 2.0)), grounding=Grounding(attribution),
    )  # fmt: skip
    trainer.train()
    metrics = trainer.evaluate()
    if int(os.environ.get("RANK", 0)) == 0:
        model = trainer.accelerator.unwrap_model(trainer.model)
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        logs = [entry for entry in trainer.state.log_history if "loss/energy" in entry]
        result = {"weights": weights, "metrics": metrics, "logs": logs}
        torch.save(result, f"{folder}/{os.environ.get('WORLD_SIZE', 1)}.pt")


if __name__ == "__main__":
    for name in sys.argv[3:]:
        train(name, int(sys.argv[1]), f"{sys.argv[2]}/{name}")
