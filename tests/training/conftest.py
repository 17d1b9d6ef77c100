"""A small real training job: digits on photographs, a two-stage ResNet, a ConvNeXt or a ViT."""

from __future__ import annotations

import pytest
import torch
from digit_models import build
from transformers import ViTImageProcessor

from hf_guidance import GuidanceArguments, GuidedTrainer, dataset_builder

torch.set_num_threads(1)  # a hundred times faster on models this small when other processes want the cores


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    builder = dataset_builder(
        "digits_on_photos", image_size=32, digit_size=16, train_size=48, validation_size=8, test_size=20,
        cache_dir=str(tmp_path_factory.mktemp("digits")),
    )  # fmt: skip
    builder.download_and_prepare()
    return builder.as_dataset()


@pytest.fixture(scope="session")
def processor():
    return ViTImageProcessor(size={"height": 32, "width": 32})


@pytest.fixture
def model_of():
    return build


@pytest.fixture
def trainer_of(digits, processor, tmp_path):
    """A GuidedTrainer for the digits; keywords go to the arguments, `trainer` to the trainer."""

    def make(model, guidance, trainer=None, rows=None, cls=GuidedTrainer, **settings):
        defaults = {
            "output_dir": str(tmp_path / "out"), "per_device_train_batch_size": 8, "learning_rate": 1e-3,
            "report_to": "none", "save_strategy": "no", "logging_steps": 1, "num_train_epochs": 1, "use_cpu": True,
            "disable_tqdm": True, "dataloader_pin_memory": False, "lr_scheduler_type": "constant",
        }  # fmt: skip
        args = GuidanceArguments(**(defaults | settings))
        keywords = {
            "train_dataset": digits["train"] if rows is None else rows, "eval_dataset": digits["test"],
            "processing_class": processor, "guidance": guidance,
        } | (trainer or {})  # fmt: skip
        return cls(model=model, args=args, **keywords)

    return make
