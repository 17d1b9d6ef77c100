"""Runs for test_distributed.py, by torchrun with two processes, or plainly with one.

One training run for each kind of model, and evaluations of a set that does not divide by processes and batch sizes.
"""

from __future__ import annotations

import os
import sys

import torch
from digit_models import build
from transformers import ViTImageProcessor

from hf_guidance import (
    AttributionPanel,
    Grounding,
    Guidance,
    GuidanceArguments,
    GuidedTrainer,
    Term,
    dataset_builder,
    with_annotated_fraction,
)
from hf_guidance.attributions import InputXGradient
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.objectives import Energy, RightReasons

GLOO = {"ddp_backend": "gloo"} if "WORLD_SIZE" in os.environ else {}
ROWS = 11


def train(kind: str, batch: int, folder: str) -> None:
    builder = dataset_builder(
        "digits_on_photos", image_size=32, digit_size=16, train_size=32, validation_size=0, test_size=8,
        cache_dir=folder + "/data",
    )  # fmt: skip
    builder.download_and_prepare()
    splits = builder.as_dataset()
    args = GuidanceArguments(
        output_dir=folder, per_device_train_batch_size=batch, per_device_eval_batch_size=2, num_train_epochs=2,
        learning_rate=1e-3, report_to="none", save_strategy="epoch", logging_steps=1, use_cpu=True, disable_tqdm=True,
        frozen_batch_norm=True, lr_scheduler_type="constant", dataloader_pin_memory=False, **GLOO,
    )  # fmt: skip
    attribution = InputXGradient("input")
    trainer = GuidedTrainer(
        model=build(kind), args=args, train_dataset=with_annotated_fraction(splits["train"], 0.25, seed=1),
        eval_dataset=splits["test"], processing_class=ViTImageProcessor(size={"height": 32, "width": 32}),
        guidance=Guidance(energy=Term(Energy(attribution), 2.0)), grounding=Grounding(attribution),
        callbacks=[AttributionPanel(count=2, every_steps=4)],
    )  # fmt: skip
    trainer.train()
    metrics = trainer.evaluate()
    if int(os.environ.get("RANK", 0)) == 0:
        model = trainer.accelerator.unwrap_model(trainer.model)
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        logs = [entry for entry in trainer.state.log_history if "loss/energy" in entry]
        result = {"weights": weights, "metrics": metrics, "logs": logs}
        torch.save(result, f"{folder}/{os.environ.get('WORLD_SIZE', 1)}.pt")


def rows_for_evaluation() -> list[dict]:
    """Rows 0 and 1, which fill up the last batch, are unlike the others: black, so without attribution, or very bright."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for index in range(ROWS):
        row = {
            "pixel_values": torch.randn(3, 32, 32, generator=generator),
            "label": index % 2,
            "group": f"g{index % 3}",
        }
        row["pixel_values"] *= {0: 0.0, 1: 9.0}.get(index, 1.0)
        row["objects"] = [] if index in (3, 4) else [{"bbox": [0.0, 0.0, 16.0, 16.0], "category": index % 2}]
        rows.append(row)
    return rows


def evaluate(reduction: str, batch: int, folder: str) -> dict:
    """What evaluate() and predict() report of an untrained model, with terms of one reduction."""
    args = GuidanceArguments(
        output_dir=folder, per_device_eval_batch_size=batch, report_to="none", use_cpu=True, disable_tqdm=True,
        dataloader_pin_memory=False, include_for_metrics=["group", "loss"], **GLOO,
    )  # fmt: skip
    attribution, given = InputXGradient("input"), []
    metrics = classification_metrics("single_label_classification", group="group")

    def compute(prediction):
        given.append((prediction.inputs["group"].tolist(), len(prediction.predictions)))
        return metrics(prediction)

    terms = {
        "energy": Term(Energy(attribution), 2.0, reduction),
        "rrr": Term(RightReasons(attribution), 0.5, reduction),
    }
    trainer = GuidedTrainer(
        model=build("resnet"), args=args, train_dataset=rows_for_evaluation(), eval_dataset=rows_for_evaluation(),
        guidance=Guidance(terms), grounding=Grounding(attribution, ("epg", "rrr")), compute_metrics=compute,
    )  # fmt: skip
    measured = trainer.evaluate()
    predicted = trainer.predict(rows_for_evaluation())
    return {"eval": measured, "test": predicted.metrics, "given": given, "logits": torch.tensor(predicted.predictions)}


if __name__ == "__main__":
    evaluated = {
        (kind, size): evaluate(kind, size, sys.argv[2]) for kind in ("batch", "rows", "sum") for size in (2, 4)
    }
    if int(os.environ.get("RANK", 0)) == 0:
        torch.save(evaluated, f"{sys.argv[2]}/evaluated.pt")
    for name in sys.argv[3:]:
        train(name, int(sys.argv[1]), f"{sys.argv[2]}/{name}")
