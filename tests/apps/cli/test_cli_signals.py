"""A training that is told to end leaves whole checkpoints, and goes on from them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tiny_cli import config


def test_sigterm_leaves_whole_checkpoints_and_the_training_goes_on(cli, tmp_path):
    file = config(tmp_path, save_strategy="steps", save_steps=1, num_train_epochs=2000, save_total_limit=2)
    command = [sys.executable, "-m", "hf_guidance.apps.cli", "train", "--config", str(file)]
    training = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = time.time() + 120
    while not (tmp_path / "run" / "checkpoint-2" / "trainer_state.json").exists() and time.time() < limit:
        assert training.poll() is None, training.stderr.read()
        time.sleep(0.05)
    training.send_signal(signal.SIGTERM)
    out, err = training.communicate(timeout=60)
    assert training.returncode == 128 + signal.SIGTERM, err
    assert out == ""
    assert "Traceback" not in err
    found = list((tmp_path / "run").glob("checkpoint-*"))
    assert found
    for folder in found:
        assert {"model.safetensors", "guidance.json", "trainer_state.json", "optimizer.pt"} <= set(os.listdir(folder))
    last = max(int(folder.name.split("-")[1]) for folder in found)
    words = ["--resume_from_checkpoint", "true", "--max_steps", last + 1, "--num_train_epochs", "1"]
    assert cli("train", "--config", tmp_path / "run" / "train.yaml", *words).code == 0
    assert (tmp_path / "run" / f"checkpoint-{last + 1}").is_dir()
