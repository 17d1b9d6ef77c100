"""Two processes, for the settings that need them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from forks import ranks
from sharded_on_cpu import shard_on_cpu

from every_setting.architectures import Architecture
from every_setting.settings import Setting, moved


def moved_on_two(architectures: Iterable[Architecture], setting: Setting, folder: Path) -> dict[str, Any]:
    """By architecture, how far one step on two processes moves the weights, or the message of the refusal.

    Args:
        architectures: What is trained, one after the other.
        setting: How.
        folder: For what the processes write.
    """

    def work() -> None:
        torch.set_num_threads(1)
        if "fsdp" in setting.arguments:
            shard_on_cpu()
        for architecture in architectures:
            found = moved_or_refused(architecture, setting, folder / "out")
            if os.environ["RANK"] == "0":
                torch.save(found, folder / architecture.builder)

    ranks(2, work)
    return {a.builder: torch.load(folder / a.builder) for a in architectures}


def moved_or_refused(architecture: Architecture, setting: Setting, folder: Path) -> Any:
    """How far one step moves the weights, or the message of the refusal."""
    try:
        return moved(architecture, setting, folder)
    except ValueError as error:
        return str(error)
