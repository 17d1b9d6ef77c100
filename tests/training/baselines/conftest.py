from __future__ import annotations

import pytest
from placed_rows import place_rows, small_model

from hf_guidance import GuidanceArguments
from hf_guidance.training.baselines import BaselineTrainer


@pytest.fixture(scope="session")
def placed():
    return place_rows()


@pytest.fixture
def baseline(placed, tmp_path):
    """A BaselineTrainer; keywords go to the arguments, `trainer` to the trainer."""

    def make(method, model=None, trainer=None, **settings):
        defaults = {
            "output_dir": str(tmp_path / "out"), "per_device_train_batch_size": 8, "learning_rate": 1e-2,
            "report_to": "none", "save_strategy": "no", "logging_steps": 1, "num_train_epochs": 1, "use_cpu": True,
            "disable_tqdm": True, "dataloader_pin_memory": False, "lr_scheduler_type": "constant",
        }  # fmt: skip
        args = GuidanceArguments(**(defaults | settings))
        keywords = {"train_dataset": placed, "eval_dataset": placed} | (trainer or {})
        return BaselineTrainer(model or small_model(), args, method=method, **keywords)

    return make
