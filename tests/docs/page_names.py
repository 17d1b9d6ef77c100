"""What the blocks of the documentation take for granted: a function for each name and each folder, called once for a page.

A function may ask for others by the names of its arguments; a folder is made in the folder in which the page runs.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

import hf_guidance
from hf_guidance import Guidance, GuidanceArguments, GuidanceCollator, GuidedTrainer
from hf_guidance.attributions import GradCAM
from hf_guidance.objectives import Energy

_ROOMS = (
    "attributions",
    "objectives",
    "data",
    "evaluation",
    "models",
    "forward",
    "families",
    "training",
    "views",
    "guidance",
)
_MODULES = {"torch": torch, "nn": nn, "F": nn.functional, "np": np, "v2": v2, "dataclasses": dataclasses}
_CLASSES = {"dataclass": dataclasses.dataclass}


def noise(seed: int, width: int = 40, height: int = 36) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def _rows(count: int) -> datasets.Dataset:
    """Rows of images with one label, a group, and one box each."""
    boxes = [[{"bbox": [4.0, 4.0, 20.0, 18.0], "category": row % 2}] for row in range(count)]
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]), group=datasets.Value("string"),
        objects=datasets.List({"bbox": datasets.List(datasets.Value("float32"), 4), "category": datasets.Value("int64")}),
    )  # fmt: skip
    columns = {
        "image": [noise(row) for row in range(count)],
        "label": [row % 2 for row in range(count)],
        "objects": boxes,
    }
    return datasets.Dataset.from_dict(columns | {"group": [f"g{row % 3}" for row in range(count)]}, features=features)


def train() -> datasets.Dataset:
    return _rows(8)


def validation() -> datasets.Dataset:
    return _rows(6)


def rows() -> datasets.Dataset:
    return _rows(8)


def image() -> Image.Image:
    return noise(0)


def images() -> list[Image.Image]:
    return [noise(row) for row in range(4)]


def processor() -> ViTImageProcessor:
    return ViTImageProcessor(size={"height": 32, "width": 32})


def build(labels: int = 2) -> ResNetForImageClassification:
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    return ResNetForImageClassification(ResNetConfig(num_labels=labels, **sizes))


def model() -> ResNetForImageClassification:
    return build()


def model_of_ten() -> ResNetForImageClassification:
    return build(10)


def model_of_patches() -> ViTForImageClassification:
    torch.manual_seed(0)
    tokens = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return ViTForImageClassification(ViTConfig(num_labels=2, image_size=32, patch_size=8, **tokens))


def teacher() -> ResNetForImageClassification:
    return build()


def model_init() -> Any:
    return lambda trial=None: build()


class Tokens(nn.Module):
    """A ViT of timm with a class token and four registers, at ``backbone``."""

    def __init__(self) -> None:
        super().__init__()
        from timm.models.vision_transformer import VisionTransformer

        self.backbone = VisionTransformer(
            img_size=32, patch_size=16, embed_dim=12, depth=12, num_heads=2, reg_tokens=4, num_classes=2
        )

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.backbone(pixel_values)}


def model_of_tokens() -> Tokens:
    torch.manual_seed(0)
    return Tokens()


def args() -> GuidanceArguments:
    return GuidanceArguments("runs/given", report_to="none", use_cpu=True, disable_tqdm=True)


def guidance() -> Guidance:
    return Guidance(energy=Energy(GradCAM(layer="final")))


def collator(processor: Any) -> GuidanceCollator:
    return GuidanceCollator(processor, num_labels=2)


def trainer(model: Any, args: Any, train: Any, validation: Any, processor: Any, guidance: Any) -> GuidedTrainer:
    return GuidedTrainer(
        model, args, train_dataset=train, eval_dataset=validation, processing_class=processor, guidance=guidance
    )


def my_images(folder: Path) -> None:
    """An imagefolder of boxes, as docs/from-trainer.md shows it."""
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        lines = []
        for row in range(4):
            noise(row).save(folder / split / f"{row:04}.png")
            objects = {"bbox": [[8.0, 6.0, 20.0, 12.0]], "category": [row % 2]}
            lines.append(json.dumps({"file_name": f"{row:04}.png", "objects": objects}))
        (folder / split / "metadata.jsonl").write_text("\n".join(lines) + "\n")


def photos(folder: Path) -> None:
    """A folder of pictures."""
    folder.mkdir(parents=True)
    for row in range(4):
        noise(row).save(folder / f"{row}.png")


def voc_devkit(folder: Path) -> None:
    """VOC2007 with eight images of a cat and a dog."""
    root = folder / "VOC2007"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for row in range(8):
        noise(row).save(root / "JPEGImages" / f"{row:06}.jpg")
        boxes = {"cat": (1, 1, 20, 20), "dog": (10, 8, 38, 34)}
        found = "".join(
            f"<object><name>{name}</name><bndbox>"
            + "".join(
                f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
            )
            + "</bndbox></object>"
            for name, box in boxes.items()
        )
        size = "<size><width>40</width><height>36</height><depth>3</depth></size>"
        text = f"<annotation><filename>{row:06}.jpg</filename>{size}{found}</annotation>"
        (root / "Annotations" / f"{row:06}.xml").write_text(text)
    ids = [f"{row:06}" for row in range(8)]
    for split, own in {"train": ids[:4], "val": ids[4:6], "trainval": ids[:6], "test": ids[6:]}.items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(own) + "\n")


FOLDERS = {"my_images/": my_images, "photos/": photos, "VOCdevkit/": voc_devkit}
_NAMES = {
    name: value for name, value in list(globals().items())
    if inspect.isfunction(value) and value.__module__ == __name__ and name not in ("noise", "build", "_rows")
}  # fmt: skip


def lookup(name: str, made: dict[str, Any]) -> Any:
    """The object that a page is given under a name; ``made`` keeps those that were made for the page."""
    if name in _MODULES or name in _CLASSES:
        return (_MODULES | _CLASSES)[name]
    if name in _NAMES:
        if name not in made:
            function = _NAMES[name]
            made[name] = function(**{asked: lookup(asked, made) for asked in inspect.signature(function).parameters})
        return made[name]
    if name in hf_guidance.__all__:
        return getattr(hf_guidance, name)
    for room in (import_module(f"hf_guidance.{one}") for one in _ROOMS):
        if name in room.__all__ and not isinstance(getattr(room, name), ModuleType):
            return getattr(room, name)
    raise AssertionError(f"given: {name!r} is no name of tests/docs/page_names.py, nor of hf_guidance and its rooms")


def provide(given: tuple[str, ...], made: dict[str, Any]) -> dict[str, Any]:
    """The names that a block is given, by name; folders are made in the working folder, once."""
    for name in given:
        if name.endswith("/") and not Path(name).exists():
            FOLDERS[name](Path(name))
    pairs = (name.partition("=") for name in given if not name.endswith("/"))
    return {name: lookup(source or name, made) for name, _, source in pairs}
