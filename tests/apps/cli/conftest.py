"""The command line in this process: a process of its own would import torch and transformers anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from forks import Fork, module
from PIL import Image
from tiny_cli import QUESTIONS, TRAINING, Ended

from hf_guidance.apps.cli.entry import run


@pytest.fixture
def cli(capsys):
    """Run ``hf-guidance`` with some words."""

    def call(*words):
        capsys.readouterr()
        code = run([str(word) for word in words])
        return Ended(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def process():
    """Run ``hf-guidance`` with some words as a process of its own, by its entry point."""

    def call(*words, cwd=None, **environment):
        command = [sys.executable, "-m", "hf_guidance.apps.cli", *map(str, words)]
        done = subprocess.run(
            command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=200
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def copied():
    """Run ``hf-guidance`` with some words as a process of its own, a copy of this one, which has imported already."""

    def call(*words):
        done = Fork(module("hf_guidance.apps.cli", *words))
        return Ended(done.wait(200), done.out, done.err)

    return call


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """The folder of a tiny guided image classifier."""
    folder = tmp_path_factory.mktemp("trained") / "digits"
    assert run([*TRAINING, "--output_dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def answering(tmp_path_factory):
    """The folder of a tiny model that answers questions over boxes."""
    folder = tmp_path_factory.mktemp("trained") / "questions"
    words = [
        "train",
        "--task",
        "question-answering",
        "--recipe",
        "task_only",
        "--builder_config",
        json.dumps(QUESTIONS),
    ]
    words += ["--output_dir", str(folder), "--max_steps", "2", "--use_cpu", "true", "--save_strategy", "no"]
    assert run(words) == 0
    return folder


@pytest.fixture
def photos(tmp_path):
    """A folder with three pictures, one of them in a folder."""
    for number, name in enumerate(("one.png", "two.jpg", "more/three.png")):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), np.uint8)
        Image.fromarray(pixels).save(file)
    return tmp_path / "photos"
