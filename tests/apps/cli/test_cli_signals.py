"""A training that is told to end leaves whole checkpoints, and goes on from them."""

from __future__ import annotations

import os
import signal
import time

from forks import Fork, module
from tiny_cli import config


def test_sigterm_leaves_whole_checkpoints_and_the_training_goes_on(cli, tmp_path):
    file = config(tmp_path, save_strategy="steps", save_steps=1, num_train_epochs=2000, save_total_limit=2)
    training = Fork(module("hf_guidance.apps.cli", "train", "--config", file))
    limit = time.time() + 120
    while not (tmp_path / "run" / "checkpoint-2" / "trainer_state.json").exists() and time.time() < limit:
        assert training.poll() is None, training.err
        time.sleep(0.05)
    training.send_signal(signal.SIGTERM)
    assert training.wait(60) == 128 + signal.SIGTERM, training.err
    assert training.out == ""
    assert "Traceback" not in training.err
    found = list((tmp_path / "run").glob("checkpoint-*"))
    assert found
    for folder in found:
        assert {"model.safetensors", "guidance.json", "trainer_state.json", "optimizer.pt"} <= set(os.listdir(folder))
    last = max(int(folder.name.split("-")[1]) for folder in found)
    words = ["--resume_from_checkpoint", "true", "--max_steps", last + 1, "--num_train_epochs", "1"]
    assert cli("train", "--config", tmp_path / "run" / "train.yaml", *words).code == 0
    assert (tmp_path / "run" / f"checkpoint-{last + 1}").is_dir()
