"""What run_model_guidance.py trains: data prepared once for each kind of model, the models, and the trainer of one run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import torch
from guidance_options import read_json
from PIL import Image
from transformers import AutoModelForImageClassification, PrinterCallback, ResNetConfig, ViTImageProcessor, set_seed
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from hf_guidance import (
    Forward,
    Grounding,
    Guidance,
    GuidanceArguments,
    GuidanceCollator,
    GuidedTrainer,
    annotated_indices,
    dataset_builder,
    metric_path,
    with_annotated_fraction,
)
from hf_guidance.data.boxes import resize_boxes
from hf_guidance.data.images.augmentation import RandomCropAndFlip
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.forward.maps import resize_maps
from hf_guidance.models import BcosImageProcessor, BcosResNetConfig, XDNNImageProcessor, XDNNResNetConfig

MULTI = "multi_label_classification"
AXES = ("model", "attribution", "layer", "loss", "weight", "fraction", "dilation", "moved", "seed")
SCORES = ("f1", "map", "epg", "attribution_iou", "epg_undefined_share")
COLUMNS = {"boxes": "objects", "mask": "mask"}
CONFIGS = {"vanilla": ResNetConfig, "xdnn": XDNNResNetConfig, "bcos": BcosResNetConfig}


@dataclass
class DataArguments:
    dataset: str = field(
        default="digits_on_photos", metadata={"help": "A builder's name; its rows have boxes or masks."}
    )
    data_dir: str | None = field(default=None, metadata={"help": "Raw files of the builder."})
    builder_config: str = field(default="{}", metadata={"help": "JSON with options of the builder."})
    source: str = field(default="boxes", metadata={"help": "boxes or mask: what of a row says where to look."})
    train_split: str = "train"
    validation_split: str = field(default="validation", metadata={"help": "'' takes a fifth of the training split."})
    test_split: str = "test"
    image_size: int = field(default=224, metadata={"help": "Height and width in pixels."})
    in_memory: bool = field(
        default=True,
        metadata={"help": "Prepare all images once, boxes truncated as the paper's; 12 bytes a pixel (B-cos 24)."},
    )
    model_config: str = field(default="{}", metadata={"help": "JSON with fields of all three configurations."})
    model_options: str = field(default="{}", metadata={"help": "JSON: model to fields of its configuration alone."})
    pretrained: str = field(
        default="{}", metadata={"help": "JSON: model to a checkpoint that its baseline starts from."}
    )
    segmentations: bool = field(default=False, metadata={"help": "Rows have masks: measure on-object EPG, too."})
    crop: float = field(
        default=1.0,
        metadata={"help": "Least share of a training image that random crops keep, flips with it; 1: neither."},
    )
    batch_size: int = 64
    max_grad_norm: float = field(default=0.0, metadata={"help": "0 clips no gradients, as the paper."})


class Classifiers:
    """Data and models of a grid."""

    def __init__(self, data: DataArguments) -> None:
        self.data = data
        builder = dataset_builder(
            data.dataset, **read_json(data.builder_config), **({"data_dir": data.data_dir} if data.data_dir else {})
        )
        builder.download_and_prepare()
        self.raw_files = builder.config_id  # another one when a file of the data was changed
        splits = builder.as_dataset()
        if not data.validation_split:
            parts = splits[data.train_split].train_test_split(0.2, seed=0)
            splits = {**splits, data.train_split: parts["train"], "validation": parts["test"]}
        wanted = {
            "train": data.train_split,
            "validation": data.validation_split or "validation",
            "test": data.test_split,
        }
        if missing := [split for split in wanted.values() if split not in splits]:
            raise ValueError(f"{data.dataset} has no split {missing[0]!r}; it has {sorted(splits)}.")
        self.splits = {name: splits[split] for name, split in wanted.items()}
        self.names = self.splits["train"].features["labels"].feature.names
        self._prepared: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def processor(self, model: str) -> Any:
        size = {"height": self.data.image_size, "width": self.data.image_size}
        if model == "vanilla":
            return ViTImageProcessor(size=size, image_mean=IMAGENET_DEFAULT_MEAN, image_std=IMAGENET_DEFAULT_STD)
        return {"xdnn": XDNNImageProcessor, "bcos": BcosImageProcessor}[model](size=size)

    def rows(self, model: str, split: str) -> Any:
        """A split for a model: with pixels at the size of training, or as it is."""
        if not self.data.in_memory:
            return self.splits[split]
        key = ("bcos" if model == "bcos" else "rgb", split)
        if key not in self._prepared:
            processor = self.processor(model)
            self._prepared[key] = [prepared(row, processor, self.data.image_size) for row in self.splits[split]]
        return self._prepared[key]

    def training_rows(self, cell: dict[str, Any]) -> Any:
        """The training split with boxes on the cell's fraction."""
        rows = self.rows(cell["model"], "train")
        if not isinstance(rows, list):
            return with_annotated_fraction(rows, cell["fraction"], cell["seed"])
        kept = set(annotated_indices(len(rows), cell["fraction"], cell["seed"]).tolist())
        return [{**row, "annotated": index in kept} for index, row in enumerate(rows)]

    def new_model(self, model: str) -> Any:
        """From scratch, or from the checkpoint that ``pretrained`` names, with a new head."""
        labels = {"num_labels": len(self.names), "id2label": dict(enumerate(self.names)),
                  "label2id": {name: i for i, name in enumerate(self.names)}, "problem_type": MULTI}  # fmt: skip
        path = read_json(self.data.pretrained).get(model)
        if path is not None:
            return AutoModelForImageClassification.from_pretrained(path, ignore_mismatched_sizes=True, **labels)
        fields = read_json(self.data.model_config) | read_json(self.data.model_options).get(model, {})
        return AutoModelForImageClassification.from_config(CONFIGS[model](**fields, **labels))

    def collator(self, model: str, **options: Any) -> GuidanceCollator:
        processor = None if self.data.in_memory else self.processor(model)
        return GuidanceCollator(processor, MULTI, len(self.names), **({"source": self.data.source} | options))

    def trainer(self, cell: dict[str, Any], model: Any, guidance: Guidance, folder: Path, epochs: int, rate: float,
                measured: Any) -> GuidedTrainer:  # fmt: skip
        """Adam at a fixed rate, evaluated after every epoch, as the paper."""
        set_seed(cell["seed"])
        args = GuidanceArguments(
            output_dir=str(folder), seed=cell["seed"], num_train_epochs=epochs, learning_rate=rate,
            lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=self.data.max_grad_norm,
            per_device_train_batch_size=self.data.batch_size, per_device_eval_batch_size=100, eval_strategy="epoch",
            save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
        )  # fmt: skip
        options = {"box_dilation": cell["dilation"], "control_seed": cell["seed"] if cell["moved"] else None}
        if self.data.crop < 1:
            options["transform"] = RandomCropAndFlip(self.data.image_size, scale=(self.data.crop, 1.0))
        grounding = (
            None if measured is None else Grounding(measured, metrics=("epg", "attribution_iou"), unannotated="zero")
        )  # all positives, as the paper
        trainer = GuidedTrainer(
            model=model, args=args, guidance=guidance, grounding=grounding, train_dataset=self.training_rows(cell),
            eval_dataset=self.rows(cell["model"], "validation"), data_collator=self.collator(cell["model"], **options),
            processing_class=self.processor(cell["model"]), compute_metrics=classification_metrics(MULTI),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        return trainer

    def scores(self, trainer: GuidedTrainer, cell: dict[str, Any], split: str, prefix: str) -> dict[str, float]:
        found = trainer.predict(self.rows(cell["model"], split), metric_key_prefix="x").metrics
        scores = {f"{prefix}{name}": found[f"x_{name}"] for name in SCORES if f"x_{name}" in found}
        if self.data.segmentations:
            scores[f"{prefix}on_object_epg"] = self._on_object_epg(trainer, cell["model"], split)
        return scores

    def _on_object_epg(self, trainer: GuidedTrainer, model: str, split: str) -> float:
        """Of the positive attribution inside the boxes, the share on the object (appendix B.4), where rows have masks."""
        metric = evaluate.load(metric_path("on_object_epg"), keep_in_memory=True)
        method = trainer.grounding.attribution
        collators = [self.collator(model, source=source) for source in COLUMNS]
        rows = [row for row in self.rows(model, split) if row.get("mask") is not None]
        for first in range(0, len(rows), 100):
            part = rows[first : first + 100]
            boxes, masks = (trainer._prepare_inputs(collator(part)) for collator in collators)
            with torch.no_grad():
                maps = Forward(trainer.model.eval(), trainer.family, boxes, method.needs()).attribution(method)
            maps = resize_maps(maps, boxes["importance"].shape[-2:])
            pairs = {"predictions": maps, "references": boxes["importance"], "segmentations": masks["importance"]}
            known = [box and mask for box, mask in zip(boxes["annotated"], masks["annotated"], strict=True)]
            metric.add_batch(**{name: value.cpu().numpy()[known] for name, value in pairs.items()})
        return metric.compute()["on_object_epg"]


def prepared(row: Mapping[str, Any], processor: Any, size: int) -> dict[str, Any]:
    """A row with pixels at the size of training, as the paper prepares them: the aspect is not kept, boxes are truncated."""
    image = row["image"].convert("RGB")
    boxes = resize_boxes([o["bbox"] for o in row["objects"]], (image.height, image.width), (size, size)).tolist()
    objects = [
        {"bbox": box, "category": o["category"]}
        for box, o in zip(boxes, row["objects"], strict=True)
        if box[2] > box[0] and box[3] > box[1]
    ]
    pixels = processor(images=[image], return_tensors="pt")["pixel_values"][0]
    found = {"pixel_values": pixels, "image_id": row["image_id"], "labels": row["labels"], "objects": objects}
    if row.get("mask") is not None:
        found["mask"] = np.asarray(row["mask"].resize((size, size), Image.Resampling.NEAREST))
    return found
