"""What the studies share: images decoded once into memory, one training run, what is measured of it, and the table."""

import json
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import evaluate
import numpy as np
import torch
import transformers
from PIL import Image
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor, set_seed

from hf_guidance import (
    Grounding,
    Guidance,
    GuidanceArguments,
    GuidanceCollator,
    GuidedTrainer,
    Term,
    dataset_builder,
    metric_path,
)
from hf_guidance.attributions import ContrastLogits, InputXGradient
from hf_guidance.evaluation.classification import best_threshold, mean_average_precision, micro_f1
from hf_guidance.objectives import Energy

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
MAPS = InputXGradient(layer="final")
CONTRAST_MAPS = InputXGradient(layer="final", target=ContrastLogits())


@dataclass(frozen=True)
class Stage:
    """One training run."""

    epochs: int
    learning_rate: float
    weight: float = 0.0
    control: bool = False
    frozen_batch_norm: bool = False
    contrast: bool = False

    def guidance(self) -> Guidance:
        maps = CONTRAST_MAPS if self.contrast else MAPS
        return Guidance(energy=Term(Energy(maps), self.weight, reduction="rows")) if self.weight else Guidance()


@dataclass(frozen=True)
class Task:
    """Images in memory and what is to be predicted of them."""

    name: str
    train: Sequence[Mapping[str, Any]]
    test: Sequence[Mapping[str, Any]]
    classes: tuple[str, ...]
    problem: str = MULTI
    source: str = "boxes"
    measured: InputXGradient = MAPS

    def collator(self, control_seed: int | None = None) -> GuidanceCollator:
        return GuidanceCollator(None, self.problem, len(self.classes), self.source, control_seed=control_seed)


def to_pixels(images: Iterable[Image.Image], size: int) -> list[torch.Tensor]:
    processor = ViTImageProcessor(size={"height": size, "width": size})
    return [processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"][0] for image in images]


def load_voc(name: str, folder: Path, size: int) -> Task:
    """A PASCAL VOC folder through the library's builder, resized once; boxes are scaled with the images."""
    datasets.disable_progress_bars()
    builder = dataset_builder("pascal_voc", data_dir=str(folder))
    builder.download_and_prepare()
    splits = builder.as_dataset()
    classes = tuple(splits["train"].features["labels"].feature.names)
    rows = {split: [_resized(row, size) for row in splits[split]] for split in ("train", "test")}
    return Task(name, rows["train"], rows["test"], classes)


def _resized(row: Mapping[str, Any], size: int) -> dict[str, Any]:
    scale = np.array([size / row["image"].width, size / row["image"].height] * 2)
    objects = [{"bbox": (np.array(o["bbox"]) * scale).tolist(), "category": o["category"]} for o in row["objects"]]
    pixels = to_pixels([row["image"]], size)[0]
    return {"pixel_values": pixels, "image_id": row["image_id"], "labels": row["labels"], "objects": objects}


def new_model(task: Task) -> Any:
    config = ResNetConfig(
        embedding_size=32, hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic",
        num_labels=len(task.classes), problem_type=task.problem,
    )  # fmt: skip
    return ResNetForImageClassification(config)


def train(task: Task, stage: Stage, seed: int, start: Mapping[str, Any] | None = None) -> GuidedTrainer:
    """Train from scratch, or from weights, and hand back the trainer, which now reads the true annotations."""
    set_seed(seed)
    model = new_model(task)
    if start is not None:
        model.load_state_dict(start)
    args = GuidanceArguments(
        output_dir="runs/study/checkpoints", seed=seed, num_train_epochs=stage.epochs, learning_rate=stage.learning_rate,
        lr_scheduler_type="constant", per_device_train_batch_size=32, per_device_eval_batch_size=100,
        frozen_batch_norm=stage.frozen_batch_norm, save_strategy="no", report_to="none", logging_strategy="epoch",
        disable_tqdm=True, dataloader_pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    trainer = GuidedTrainer(
        model=model, args=args, train_dataset=task.train, guidance=stage.guidance(),
        data_collator=task.collator(control_seed=seed if stage.control else None),
        grounding=Grounding(task.measured, metrics=("epg", "attribution_iou")),
    )  # fmt: skip
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    trainer.data_collator = task.collator()
    return trainer


def weights_of(trainer: GuidedTrainer) -> dict[str, torch.Tensor]:
    return {name: value.cpu().clone() for name, value in trainer.model.state_dict().items()}


def start_weights(task: Task, stage: Stage, seed: int, folder: Path) -> dict[str, torch.Tensor]:
    """The weights that the arms of a seed start from; kept in a file, so that other studies need not train them again."""
    file, key = folder / "starts" / f"{task.name}-{seed}.pt", repr((stage, task.classes, len(task.train), _size(task)))
    if file.is_file():
        kept = torch.load(file, weights_only=True)
        if kept["key"] == key:
            return dict(kept["weights"])
    weights = weights_of(train(task, stage, seed))
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"key": key, "weights": weights}, file)
    return weights


def _size(task: Task) -> list[int]:
    return list(task.train[0]["pixel_values"].shape)


def measure(trainer: GuidedTrainer, task: Task) -> dict[str, Any]:
    """Everything the table shows, in percent."""
    trained = trainer.predict(task.train, metric_key_prefix="train")
    tested = trainer.predict(task.test, metric_key_prefix="test")
    scores: dict[str, Any] = {name: 100 * tested.metrics[f"test_{name}"] for name in ("epg", "attribution_iou")}
    scores["undefined_share"] = 100 * tested.metrics["test_epg_undefined_share"]
    scores["train_epg"] = 100 * trained.metrics["train_epg"]
    logged = [
        entry["undefined_share/energy"] for entry in trainer.state.log_history if "undefined_share/energy" in entry
    ]
    scores["logged_undefined"] = 100 * logged[-1] if logged else None
    if task.problem == SINGLE:
        return scores | _of_groups(tested, task)
    threshold = best_threshold(trained.predictions, trained.label_ids)
    return scores | {
        "f1": 100 * micro_f1(tested.predictions, tested.label_ids),
        "f1_chosen": 100 * micro_f1(tested.predictions, tested.label_ids, threshold),
        "map": 100 * mean_average_precision(tested.predictions, tested.label_ids),
        "threshold": threshold,
    }


def _of_groups(output: Any, task: Task) -> dict[str, Any]:
    counts = evaluate.load(metric_path("group_accuracy"), keep_in_memory=True).compute(
        predictions=output.predictions.argmax(-1),
        references=output.label_ids,
        groups=[row["group"] for row in task.test],
    )
    groups = {name: 100 * group["accuracy"] for name, group in sorted(counts["groups"].items())}
    named = {"worst_group": 100 * counts["worst_group_accuracy"], "accuracy": 100 * counts["accuracy"]}
    return named | {f"group {name}": value for name, value in groups.items()}


def with_annotated(rows: Sequence[Mapping[str, Any]], chosen: Iterable[int]) -> list[dict[str, Any]]:
    kept = set(map(int, chosen))
    return [{**row, "annotated": index in kept} for index, row in enumerate(rows)]


class Results:
    """Measurements by arm; written after every run, so that an interrupted study keeps what it has."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, Stage], **notes: Any) -> None:
        self.name, self.file, self.started = name, folder / f"{name}.json", time.time()
        self.settings = {arm: asdict(stage) for arm, stage in settings.items()}
        self.notes = notes
        self.targets: list[dict[str, Any]] = []
        self.runs: dict[str, list[dict[str, Any]]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, arm: str, seed: int, scores: Mapping[str, Any]) -> None:
        self.runs.setdefault(arm, []).append({"seed": seed, **scores})
        shown = {name: round(value, 1) for name, value in scores.items() if value is not None}
        print(f"{self.name} seed {seed} {arm:16s} {time.time() - self.started:5.0f} s", shown, flush=True)
        self.write()

    def mean(self, arm: str, name: str) -> float:
        return float(np.mean([run[name] for run in self.runs[arm] if run.get(name) is not None]))

    def summary(self) -> dict[str, dict[str, dict[str, float]]]:
        found: dict[str, dict[str, dict[str, float]]] = {}
        for arm, runs in self.runs.items():
            for name in runs[0]:
                values = [run[name] for run in runs if run.get(name) is not None]
                if name != "seed" and values:
                    found.setdefault(arm, {})[name] = {"mean": float(np.mean(values)), "std": float(np.std(values))}
        return found

    def check(self, text: str, difference: tuple[str, str, str], low: float = -np.inf, high: float = np.inf) -> None:
        """Compare the means of two arms with a target: difference = (metric, arm, other arm), in points."""
        metric, arm, other = difference
        value = self.mean(arm, metric) - self.mean(other, metric)
        self.targets.append({"target": text, "measured": value, "met": bool(low <= value <= high)})

    def report(self, text: str, difference: tuple[str, str, str]) -> None:
        """A difference without a target."""
        self.check(text, difference)
        self.targets[-1]["met"] = None

    def write(self) -> None:
        content = {
            "study": self.name, "seconds": round(time.time() - self.started), **self.notes, "settings": self.settings,
            "targets": self.targets, "summary": self.summary(), "runs": self.runs,
        }  # fmt: skip
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(partial, self.file)

    def show(self, columns: Sequence[str]) -> None:
        self.write()
        print(f"\n{self.name}: mean ± standard deviation over the seeds, in percent")
        print(f"{'':20s}" + "".join(f"{name:>19s}" for name in columns) + "  seeds")
        for arm, row in self.summary().items():
            seeds = len(self.runs[arm])
            cells = [_cell(row[name], seeds) if name in row else "-" for name in columns]
            print(f"{arm:20s}" + "".join(f"{cell:>19s}" for cell in cells) + f"{seeds:7d}")
        for target in self.targets:
            verdict = {True: "met", False: "MISSED", None: ""}[target["met"]]
            print(f"{verdict:7s}{target['target']}: {target['measured']:+.1f}")
        for name, value in self.notes.items():
            print(f"{name}: {value}")
        print(f"{time.time() - self.started:.0f} s; written to {self.file}\n", flush=True)


def _cell(value: Mapping[str, float], seeds: int) -> str:
    # One seed has no spread.
    return f"{value['mean']:.1f}" + (f" ± {value['std']:.1f}" if seeds > 1 else "")


def quiet() -> None:
    transformers.logging.set_verbosity_error()
    logging.getLogger("hf_guidance").setLevel(logging.WARNING)
    datasets.disable_progress_bars()


def moved(stage: Stage) -> Stage:
    return replace(stage, control=True)
