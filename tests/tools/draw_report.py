"""docs/panel.png and docs/report.png: nine small runs, unguided, guided and guided by random places, three seeds each.

    python tests/tools/draw_report.py [folder]      # trains in the folder (runs/seeing), and writes docs/panel.png
    python tests/tools/draw_report.py --shot        # docs/report.png of its page as a browser shows it; needs chromium

The task is that of the demo, at 64 pixels and a few steps: digits on photographs that tell the class in training only.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from browser import screenshot
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor, set_seed
from transformers.trainer_callback import PrinterCallback

from hf_guidance import (
    AttributionPanel,
    Grounding,
    Guidance,
    GuidanceArguments,
    GuidanceCollator,
    GuidedTrainer,
    ParetoCheckpoints,
    Term,
    dataset_builder,
    report,
    with_annotated_fraction,
)
from hf_guidance.attributions import GradCAM
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.objectives import Energy

DOCS = Path(__file__).resolve().parents[2] / "docs"
SIDE, SEEDS, SHARE = 64, (0, 1, 2), 0.2


def train(arm: str, seed: int, splits: Any, folder: Path) -> None:
    set_seed(seed)
    shape = {"embedding_size": 16, "hidden_sizes": [24, 48, 64], "depths": [1, 1, 1], "layer_type": "basic"}
    names = {"id2label": {0: "even", 1: "odd"}, "label2id": {"even": 0, "odd": 1}}
    model = ResNetForImageClassification(ResNetConfig(**shape, **names))
    processor = ViTImageProcessor(size={"height": SIDE, "width": SIDE})
    collator = GuidanceCollator(processor, num_labels=2, source="boxes")
    attribution = GradCAM(layer="final")
    guidance = Guidance(energy=Term(Energy(attribution), 0.5, reduction="rows")) if arm != "unguided" else Guidance()
    args = GuidanceArguments(
        str(folder), per_device_train_batch_size=32, per_device_eval_batch_size=100, learning_rate=1e-3, max_steps=240,
        eval_strategy="steps", eval_steps=40, logging_steps=20, save_strategy="no", seed=seed, report_to="none",
        lr_scheduler_type="constant", disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    metrics = ("eval_accuracy", "eval_epg")
    trainer = GuidedTrainer(
        model, args, train_dataset=with_annotated_fraction(splits["train"], SHARE, seed), eval_dataset=splits["test"],
        data_collator=replace(collator, control_seed=seed) if arm == "random" else collator, processing_class=processor,
        guidance=guidance, grounding=Grounding(attribution, metrics=("epg", "attribution_iou")),
        compute_metrics=classification_metrics("single_label_classification"),
        callbacks=[AttributionPanel(every_steps=120), ParetoCheckpoints(metrics, guidance=guidance)],
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_state()


def main(folder: Path) -> None:
    builder = dataset_builder(
        "digits_on_photos", image_size=SIDE, boxes="square", correlation=0.9, train_size=1000, validation_size=0,
        test_size=200,
    )  # fmt: skip
    builder.download_and_prepare()
    splits = builder.as_dataset().remove_columns("mask")
    for arm in ("unguided", "guided", "random"):
        for seed in SEEDS:
            place = folder / f"{arm}-{seed}"
            if not (place / "trainer_state.json").is_file():
                train(arm, seed, splits, place)
                print(f"{arm} {seed} done", flush=True)
    page = report(folder, folder / "report.html", title="Digits on photographs", metrics=["eval_accuracy", "eval_epg"])
    shutil.copy(folder / "guided-0" / "panels" / "step-000240.png", DOCS / "panel.png")
    print(f"{page} and {DOCS / 'panel.png'}")


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    place = Path(given[0] if given else "runs/seeing")
    if "--shot" in sys.argv:
        screenshot(place / "report.html", DOCS / "report.png")
    else:
        main(place)
