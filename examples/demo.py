"""The main job in miniature: a small ResNet learns digits, then a biased task, unguided, guided by boxes, or misguided.

Writes runs/demo/results.json, runs/demo/attributions.png and runs/demo/guided/, and prints the table.
"""

import dataclasses
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import torch
from transformers import (
    HfArgumentParser,
    ResNetConfig,
    ResNetForImageClassification,
    ViTImageProcessor,
    set_seed,
)

from hf_guidance import (
    Forward,
    Grounding,
    Guidance,
    GuidanceArguments,
    GuidanceCollator,
    GuidedTrainer,
    Term,
    dataset_builder,
    metric_path,
    with_annotated_fraction,
)
from hf_guidance.attributions import GradCAM
from hf_guidance.figure import attribution_figure
from hf_guidance.objectives import Energy
from hf_guidance.spatial import resize_maps

ARMS = ("unguided", "guided", "random")
METRICS = ("accuracy", "worst_group_accuracy", "epg", "attribution_iou")


@dataclass
class DemoArguments:
    output_dir: str = field(default="runs/demo", metadata={"help": "Where results, picture and model go."})
    seeds: int = field(default=3, metadata={"help": "Number of seeds; each draws data, weights and annotations anew."})
    fraction: float = field(default=0.1, metadata={"help": "Share of the biased training images with boxes."})
    weight: float = field(default=1.0, metadata={"help": "Weight of Energy, a mean over a batch's annotated rows."})
    pretrain_epochs: int = field(default=8, metadata={"help": "Epochs on unbiased backgrounds."})
    epochs: int = field(default=5, metadata={"help": "Epochs of fine-tuning on the biased task."})


def load(correlation: float, seed: int) -> Any:
    builder = dataset_builder("digits_on_photos", correlation=correlation, seed=seed)
    builder.download_and_prepare()
    return builder.as_dataset()


def train(model: Any, dataset: Any, guidance: Guidance, collator: GuidanceCollator, **settings: Any) -> GuidedTrainer:
    args = GuidanceArguments(
        output_dir="runs/demo/checkpoints", per_device_train_batch_size=64, per_device_eval_batch_size=100,
        lr_scheduler_type="constant", save_strategy="no", report_to="none", logging_strategy="no",
        dataloader_pin_memory=torch.cuda.is_available(), **settings,
    )  # fmt: skip
    trainer = GuidedTrainer(
        model=model, args=args, train_dataset=dataset, data_collator=collator, processing_class=collator.image_processor,
        guidance=guidance, grounding=Grounding(GradCAM(), metrics=("epg", "attribution_iou")),
    )  # fmt: skip
    trainer.train()
    # Whatever it was trained with, the true boxes are what it is measured by.
    trainer.data_collator = dataclasses.replace(collator, control_seed=None)
    return trainer


def measure(trainer: GuidedTrainer, test: Any) -> tuple[dict[str, float], np.ndarray]:
    output = trainer.predict(test, metric_key_prefix="test")
    predicted = output.predictions.argmax(-1)
    groups = evaluate.load(metric_path("group_accuracy")).compute(
        predictions=predicted, references=output.label_ids, groups=test["group"]
    )
    scores = {name: output.metrics[f"test_{name}"] for name in ("epg", "attribution_iou")}
    return scores | {name: groups[name] for name in ("accuracy", "worst_group_accuracy")}, predicted == output.label_ids


def one_seed(seed: int, options: DemoArguments) -> dict[str, tuple[GuidedTrainer, dict[str, float], np.ndarray]]:
    set_seed(seed)
    unbiased, biased = load(0.5, seed), load(1.0, seed)
    processor = ViTImageProcessor(size={"height": 64, "width": 64})
    collator = GuidanceCollator(processor, num_labels=2, source="boxes")
    config = ResNetConfig(
        embedding_size=32, hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic", num_labels=2
    )
    model = ResNetForImageClassification(config)
    train(
        model,
        unbiased["train"],
        Guidance(),
        collator,
        seed=seed,
        learning_rate=2e-3,
        num_train_epochs=options.pretrain_epochs,
    )
    start = {name: value.clone() for name, value in model.state_dict().items()}
    some = with_annotated_fraction(biased["train"], options.fraction, seed)
    guided = Guidance(energy=Term(Energy(GradCAM(layer="final")), options.weight, reduction="rows"))
    results = {}
    for arm in ARMS:
        tuned = ResNetForImageClassification(config)
        tuned.load_state_dict(start)
        chosen = dataclasses.replace(collator, control_seed=seed) if arm == "random" else collator
        guidance = Guidance() if arm == "unguided" else guided
        trainer = train(tuned, some, guidance, chosen, seed=seed, learning_rate=1e-4, num_train_epochs=options.epochs)
        results[arm] = (trainer, *measure(trainer, biased["test"]))
        print(f"seed {seed} {arm:9s}", {name: round(value, 3) for name, value in results[arm][1].items()}, flush=True)
    results["test"] = biased["test"]
    return results


def draw(results: dict[str, Any], path: Path, count: int = 6) -> None:
    """Images that the unguided model gets wrong and the guided one right, with the maps of both."""
    wrong_to_right = np.flatnonzero(~results["unguided"][2] & results["guided"][2])[:count]
    chosen = [results["test"][int(index)] for index in (wrong_to_right if len(wrong_to_right) else range(count))]
    maps = {}
    for name, arm in (("before", "unguided"), ("after", "guided")):
        trainer = results[arm][0]
        batch = trainer._prepare_inputs(trainer.data_collator(chosen))
        with torch.no_grad():
            forward = Forward(trainer.model.eval(), trainer.family, batch, GradCAM().needs())
            maps[name] = resize_maps(forward.attribution(GradCAM()), (64, 64)).cpu().numpy()
    rows = [
        {"image": np.asarray(row["image"]) / 255, "before": maps["before"][i], "after": maps["after"][i],
         "boxes": [o["bbox"] for o in row["objects"]]}
        for i, row in enumerate(chosen)
    ]  # fmt: skip
    attribution_figure(rows, ("before", "after"), path)


def main() -> None:
    (options,) = HfArgumentParser(DemoArguments).parse_args_into_dataclasses()
    started, folder = time.time(), Path(options.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    measured: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed in range(options.seeds):
        results = one_seed(seed, options)
        for arm in ARMS:
            measured[arm].append(results[arm][1])
        if seed == 0:
            draw(results, folder / "attributions.png")
            results["guided"][0].save_model(str(folder / "guided"))
    table = {
        arm: {
            name: {"mean": float(np.mean([m[name] for m in runs])), "std": float(np.std([m[name] for m in runs]))}
            for name in METRICS
        }
        for arm, runs in measured.items()
    }
    partial = folder / "results.json.partial"
    partial.write_text(json.dumps(table, indent=2) + "\n")
    os.replace(partial, folder / "results.json")
    print(f"\n{'':10s}" + "".join(f"{name:>24s}" for name in METRICS))
    for arm, row in table.items():
        print(f"{arm:10s}" + "".join(f"{row[n]['mean']:>16.3f} ± {row[n]['std']:.3f}" for n in METRICS))
    print(f"{options.seeds} seeds, {time.time() - started:.0f} s; written to {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
