"""The table: for each architecture and setting the error of a guided step, or why there is none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from every_setting.architectures import Architecture
from every_setting.on_two import moved_on_two, moved_or_refused
from every_setting.settings import SETTINGS, Setting, error, moved

# Where there is no error to measure: what the user is told, and what the table says. Everywhere else a cell is a number.
_NOT_CHECKPOINTED = ("resnet", "convnext", "bcos_resnet", "xdnn_resnet", "updn", "pythia", "lxmert")
REFUSED = {
    **{
        ("checkpointed", name): ("does not support (activation|gradient) checkpointing", "none")
        for name in _NOT_CHECKPOINTED
    },
    ("LoRA", "bcos_resnet"): ("BcosConv2d.* is not supported", "unknown"),
    **{("LoRA", name): ("NormedLinear.* is not supported", "unknown") for name in ("updn", "pythia")},
    **{("FSDP2", name): ("FSDP2 shards no scalars", "scalars") for name in ("updn", "pythia")},
}
NO_ATTENTION = "-"


class Cells:
    """Cells, each measured when it is asked for.

    Args:
        architectures: The rows.
        folder: For what the trainers write.
    """

    def __init__(self, architectures: Sequence[Architecture], folder: Path) -> None:
        self.architectures, self._folder = architectures, folder
        self._references: dict[Any, Any] = {}
        self._on_two: dict[str, Mapping[str, Any]] = {}

    def __call__(self, architecture: Architecture, setting: Setting) -> float | str:
        """The error of a cell, or the message of the refusal."""
        if setting.processes > 1:
            if setting.name not in self._on_two:
                self._folder.joinpath(setting.name).mkdir(parents=True)
                self._on_two[setting.name] = moved_on_two(self.architectures, setting, self._folder / setting.name)
            found = self._on_two[setting.name][architecture.builder]
        else:
            found = moved_or_refused(architecture, setting, self._folder / "alone")
        return found if isinstance(found, str) else error(found, self._reference(architecture, setting))

    def _reference(self, architecture: Architecture, setting: Setting) -> Any:
        key = (architecture.builder, setting.adapted, setting.steps)
        if key not in self._references:
            plain = Setting("plain autograd", fused=False, adapted=setting.adapted, steps=setting.steps)
            self._references[key] = moved(architecture, plain, self._folder / "alone", plain=True)
        return self._references[key]


def reason(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
    """What the user is told where a setting is refused, and what the table says; None where it works."""
    return REFUSED.get((setting.name, architecture.builder))


def page(cells: Cells) -> str:
    """The lines of the table."""
    names = [setting.name for setting in SETTINGS]
    lines = ["| | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    for architecture in cells.architectures:
        lines.append(f"| {architecture.name} | " + " | ".join(_said(cells, architecture, s) for s in SETTINGS) + " |")
    return "\n".join(lines) + "\n"


def _said(cells: Cells, architecture: Architecture, setting: Setting) -> str:
    if setting.name == "fused" and not architecture.attends:
        return NO_ATTENTION
    found, known = cells(architecture, setting), reason(architecture, setting)
    if isinstance(found, float) and known is None:
        return f"{found:.0e}" if found else "0"
    if isinstance(found, str) and known is not None and re.search(known[0], found, re.DOTALL):
        return known[1]
    raise ValueError(f"{architecture.name}, {setting.name}: {found}, where {known} is expected")
