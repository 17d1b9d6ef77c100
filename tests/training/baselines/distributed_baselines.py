"""One training with JtT, with two processes or with one; a method that is refused on two."""

from __future__ import annotations

import os
import sys

import torch
from placed_rows import place_rows, small_model, weights_of

from hf_guidance import GuidanceArguments
from hf_guidance.training.baselines import BaselineTrainer, GroupDRO, JtT

WORLD = int(os.environ.get("WORLD_SIZE", 1))


def main(folder: str) -> None:
    options = {"ddp_backend": "gloo"} if WORLD > 1 else {}
    args = GuidanceArguments(
        output_dir=folder, per_device_train_batch_size=12 // WORLD, num_train_epochs=2, learning_rate=1e-2,
        report_to="none", save_strategy="epoch", logging_steps=1, use_cpu=True, disable_tqdm=True, frozen_batch_norm=True,
        lr_scheduler_type="constant", dataloader_pin_memory=False, **options,
    )  # fmt: skip
    trainer = BaselineTrainer(small_model(), args, method=JtT(copies=2), train_dataset=place_rows())
    trainer.train()
    refused = ""
    try:
        BaselineTrainer(small_model(), args, method=GroupDRO(), train_dataset=place_rows())
    except ValueError as error:
        refused = str(error)
    if int(os.environ.get("RANK", 0)) == 0:
        model = trainer.accelerator.unwrap_model(trainer.model)
        losses = [entry["loss/task"] for entry in trainer.state.log_history if "loss/task" in entry]
        torch.save({"weights": weights_of(model), "losses": losses, "refused": refused}, f"{folder}/{WORLD}.pt")


if __name__ == "__main__":
    main(sys.argv[1])
