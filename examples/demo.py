"""The main job in miniature: a small ResNet learns digits, then a biased task: unguided, guided, or by random boxes.

The ten digits are learned on backgrounds that tell nothing. Then {0, 6, 8} against {1, 4, 7} is learned, where in training
the background always tells the answer and in the test it never does. One image in ten has a box.

Writes runs/demo/results.json, runs/demo/attributions.png and runs/demo/guided/, and prints the table.
"""

import dataclasses
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers import draw_no_bars, follow, map_seeds, say

# isort: split
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
    with_annotated_fraction,
)
from hf_guidance.attributions import GradCAM
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.evaluation.figures import Panel, panel_figure, save_figure
from hf_guidance.forward.maps import resize_maps
from hf_guidance.objectives import Energy
from hf_guidance.training import CardOptions

SIDE = 72  # pixels; the ResNet halves it four times: maps of 5x5
ARMS = ("unguided", "guided", "random")
METRICS = ("accuracy", "worst_group_accuracy", "epg", "attribution_iou")


@dataclass
class DemoArguments:
    output_dir: str = field(default="runs/demo", metadata={"help": "Where results, picture and model go."})
    seeds: int = field(default=3, metadata={"help": "Number of seeds; each draws data, weights and annotations anew."})
    fraction: float = field(default=0.1, metadata={"help": "Share of the biased training images with boxes."})
    weight: float = field(default=2.0, metadata={"help": "Weight of Energy, a mean over a batch's annotated rows."})
    pretrain_epochs: int = field(default=6, metadata={"help": "Epochs on ten digits on unbiased backgrounds."})
    epochs: int = field(default=5, metadata={"help": "Epochs of fine-tuning on the biased task."})


def load(side: int = SIDE, **options: Any) -> Any:
    builder = dataset_builder("digits_on_photos", image_size=side, boxes="square", validation_size=0, **options)
    builder.download_and_prepare()
    return builder.as_dataset().remove_columns("mask")


def image_processor(side: int = SIDE) -> ViTImageProcessor:
    return ViTImageProcessor(size={"height": side, "width": side})


def build_model(splits: Any) -> ResNetForImageClassification:
    names = splits["train"].features["labels"].feature.names
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: label for label, name in enumerate(names)}}
    shape = {"embedding_size": 16, "hidden_sizes": [32, 64, 128], "depths": [1, 1, 1], "layer_type": "basic"}
    return ResNetForImageClassification(ResNetConfig(**labels, **shape))


def train(model: Any, dataset: Any, guidance: Guidance, collator: GuidanceCollator, **settings: Any) -> GuidedTrainer:
    args = GuidanceArguments(
        output_dir=os.path.join(tempfile.gettempdir(), "hf_guidance_demo"),
        per_device_train_batch_size=64, per_device_eval_batch_size=100,
        save_strategy="no", report_to="none", logging_strategy="no", disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(), **settings,
    )  # fmt: skip
    trainer = GuidedTrainer(
        model=model, args=args, train_dataset=dataset, data_collator=collator, processing_class=collator.image_processor,
        guidance=guidance, grounding=Grounding(GradCAM(), metrics=("epg", "attribution_iou")),
        compute_metrics=classification_metrics("single_label_classification", group="group"),
    )  # fmt: skip
    follow(trainer)
    trainer.train()
    return trainer


def measure(trainer: GuidedTrainer, test: Any) -> tuple[dict[str, float], np.ndarray]:
    output = trainer.predict(test, metric_key_prefix="test")
    right = output.predictions.argmax(-1) == output.label_ids
    return {name: output.metrics[f"test_{name}"] for name in METRICS}, right


def learn_digits(
    seed: int, epochs: int, build: Any = build_model, size: int = 4000, sides: tuple[int, ...] = (SIDE,)
) -> dict[str, torch.Tensor]:
    """Weights, without the head, of a model that tells all ten digits apart, on backgrounds that tell nothing.

    With several sides of images it learns one after the other; a digit always has 26 pixels.
    """
    model = None
    for side in sides:
        digits = load(side, classes=tuple((d,) for d in range(10)), train_size=size, seed=seed)
        model = build(digits) if model is None else model
        collator = GuidanceCollator(image_processor(side), num_labels=10, source="boxes")
        plain = with_annotated_fraction(digits["train"], 0.0, seed)
        trainer = train(model, plain, Guidance(), collator, seed=seed, learning_rate=2e-3, num_train_epochs=epochs,
                        lr_scheduler_type="linear")  # fmt: skip
    say(f"seed {seed} ten digits, unbiased: accuracy {accuracy(trainer, digits['test']):.3f}")
    return {
        name: value.clone() for name, value in trainer.model.state_dict().items() if not name.startswith("classifier")
    }


def accuracy(trainer: GuidedTrainer, dataset: Any) -> float:
    output = trainer.predict(dataset)
    return float((output.predictions.argmax(-1) == output.label_ids).mean())


def one_seed(seed: int, options: DemoArguments) -> dict[str, dict[str, float]]:
    """All arms of one seed, by arm the measures; the first seed also leaves the picture and the guided model."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // min(options.seeds, os.cpu_count() or 1)))
    draw_no_bars()
    set_seed(seed)
    start = learn_digits(seed, options.pretrain_epochs)
    biased = load(correlation=1.0, seed=seed)
    some = with_annotated_fraction(biased["train"], options.fraction, seed)
    collator = GuidanceCollator(image_processor(), num_labels=2, source="boxes")
    guided = Guidance(energy=Term(Energy(GradCAM(layer="final")), options.weight, reduction="rows"))
    results: dict[str, Any] = {"test": biased["test"]}
    for arm in ARMS:
        set_seed(seed)
        model = build_model(biased)
        model.load_state_dict(start, strict=False)
        chosen = dataclasses.replace(collator, control_seed=seed) if arm == "random" else collator
        trainer = train(model, some, Guidance() if arm == "unguided" else guided, chosen, seed=seed, learning_rate=1e-4,
                        num_train_epochs=options.epochs, lr_scheduler_type="constant")  # fmt: skip
        results[arm] = (trainer, *measure(trainer, biased["test"]))
        rounded = {name: round(value, 3) for name, value in results[arm][1].items()}
        say(f"seed {seed} {arm:9s} {rounded}")
    if seed == 0:
        draw(results, Path(options.output_dir) / "attributions.png")
        save(results, Path(options.output_dir) / "guided")
    return {arm: results[arm][1] for arm in ARMS}


def save(results: dict[str, Any], folder: Path) -> None:
    """The guided model, with a card that sets it beside the unguided one."""
    unguided, guided = results["unguided"][0], results["guided"][0]
    guided.evaluate(results["test"])
    guided.card = CardOptions(model_name="digits-guided", unguided=unguided.evaluate(results["test"]))
    guided.save_model(str(folder))


def draw(results: dict[str, Any], path: Path, arms: tuple[str, str] = ("unguided", "guided"), count: int = 6) -> None:
    """Images that the first arm gets wrong and the second one right: what both say, and their maps of the true class."""
    before, after = arms
    wrong_to_right = np.flatnonzero(~results[before][2] & results[after][2])[:count]
    chosen = wrong_to_right if len(wrong_to_right) else np.arange(count)
    rows = [results["test"][int(index)] for index in chosen]
    names, labels = results["test"].features["labels"].feature.names, [row["labels"][0] for row in rows]
    lines = [[panel(row, names[label]) for row, label in zip(rows, labels, strict=True)]]
    for arm in arms:
        trainer, _, right = results[arm]
        said = [names[label if right[index] else 1 - label] for index, label in zip(chosen, labels, strict=True)]
        maps = zip(rows, said, maps_of(trainer, rows), strict=True)
        lines.append([panel(row, f"{arm}: {answer}", values) for row, answer, values in maps])
    save_figure(panel_figure(lines, side=1.6), path)


def panel(row: dict[str, Any], title: str, values: np.ndarray | None = None) -> Panel:
    boxes = [found["bbox"] for found in row["objects"]]
    return Panel(np.asarray(row["image"]) / 255, values, boxes=boxes, title=title)


def maps_of(trainer: GuidedTrainer, rows: list[dict[str, Any]]) -> np.ndarray:
    """Grad-CAM of the true classes, on the pixels."""
    batch = trainer._prepare_inputs(trainer.data_collator.for_evaluation()(rows))
    with torch.no_grad():
        forward = Forward(trainer.model.eval(), trainer.family, batch, GradCAM().needs())
        return resize_maps(forward.attribution(GradCAM()), (SIDE, SIDE)).cpu().numpy()


def main() -> None:
    (options,) = HfArgumentParser(DemoArguments).parse_args_into_dataclasses()
    started, folder = time.time(), Path(options.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    # A seed a process: small models gain nothing from several threads.
    workers = min(options.seeds, os.cpu_count() or 1)
    runs_of_seeds = map_seeds(one_seed, range(options.seeds), options, runs=1 + len(ARMS), workers=workers)
    measured = {arm: [runs[arm] for runs in runs_of_seeds] for arm in ARMS}
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
