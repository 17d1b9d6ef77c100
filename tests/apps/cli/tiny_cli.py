"""What the tests of the command line share: options of tiny trainings, and how a command ended."""

from __future__ import annotations

import json
from typing import NamedTuple

import yaml

SMALL = {"train_size": 24, "validation_size": 0, "test_size": 8, "image_size": 32, "digit_size": 16}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
TRAINING = [
    "train", "--builder_config", json.dumps(SMALL), "--model_config", json.dumps(RESNET), "--image_size", "32",
    "--num_train_epochs", "1", "--use_cpu", "true", "--report_to", "none", "--save_strategy", "no",
]  # fmt: skip
QUESTIONS = {"train_size": 64, "dev_size": 8, "test_id_size": 16, "test_ood_size": 16}


class Ended(NamedTuple):
    """How a command ended: its exit code, what stood on standard output, and on standard error."""

    code: int
    out: str
    err: str


def config(folder, **options):
    """A YAML file of a tiny training."""
    given = {
        "builder_config": SMALL, "model_config": RESNET, "image_size": 32, "num_train_epochs": 1, "use_cpu": True,
        "report_to": "none", "save_strategy": "no", "output_dir": str(folder / "run"),
    }  # fmt: skip
    (folder / "given.yaml").write_text(yaml.safe_dump(given | options))
    return folder / "given.yaml"
