"""Small things in the place of what a page loads by its id: models of the Hub, data sets that are long to make, long training.

Everything else is real: a training of a page is two steps and one evaluation of what the reader would run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from hf_guidance.models import BcosResNetConfig

STEPS = 2
_SIZES = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
_TOKENS = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32,
           "patch_size": 8}  # fmt: skip
HUB = {
    "microsoft/resnet-50": lambda: ResNetForImageClassification(ResNetConfig(num_labels=5, **_SIZES)),
    "google/vit-base-patch16-224": lambda: ViTForImageClassification(ViTConfig(num_labels=5, **_TOKENS)),
}
_AUTO = ("AutoModelForImageClassification", "AutoImageProcessor", "AutoConfig", "AutoModel")
_SMALL = {
    "shapes_vqa": {"train_size": 160, "dev_size": 4, "test_id_size": 4, "test_ood_size": 4},
    "digits_on_photos": {
        "image_size": 32, "digit_size": 16, "train_size": 16, "validation_size": 4, "test_size": 4,
    },
}  # fmt: skip


def _local(name: Any, folder: Path) -> Any:
    if name not in HUB:
        return name
    place = folder / "hub" / str(name).replace("/", "--")
    if not place.exists():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            HUB[name]().save_pretrained(place)
        ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(place)
    return str(place)


@contextmanager
def stand_ins(folder: Path) -> Iterator[None]:
    """While a block runs: what is large is small, and the working folder is the page's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        for name in _AUTO:
            auto = getattr(transformers, name)
            patch.setattr(auto, "from_pretrained", _by_local_name(auto.from_pretrained, folder))
        _shorten(patch)
        _shrink(patch)
        yield


def _by_local_name(real: Any, folder: Path) -> Any:
    return lambda name, *args, **kwargs: real(_local(name, folder), *args, **kwargs)


def _shorten(patch: pytest.MonkeyPatch) -> None:
    real = transformers.Trainer.train
    made = transformers.TrainingArguments.__post_init__

    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.args.max_steps = STEPS
        return real(self, *args, **kwargs)

    def quiet(self: Any) -> None:
        self.use_cpu, self.disable_tqdm, self.dataloader_pin_memory = True, True, False
        self.report_to = "none"
        self.per_device_train_batch_size = min(self.per_device_train_batch_size, 4)
        made(self)

    patch.setattr(transformers.Trainer, "train", train)
    patch.setattr(transformers.TrainingArguments, "__post_init__", quiet)


def _shrink(patch: pytest.MonkeyPatch) -> None:
    import hf_guidance
    import hf_guidance.data

    real = hf_guidance.data.dataset_builder

    def builder(name: str, **options: Any) -> Any:
        return real(name, **(_SMALL.get(name, {}) | options))

    small = classmethod(lambda cls, depth, **fields: cls(layer_type="basic", **_SIZES, **fields))
    patch.setattr(BcosResNetConfig, "of_depth", small)
    for holder in (hf_guidance, hf_guidance.data):
        patch.setattr(holder, "dataset_builder", builder)
