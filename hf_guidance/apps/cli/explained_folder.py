"""The folder of ``hf-guidance explain``: pictures, explanations.json, and what lets a run that was stopped go on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_guidance.apps.cli.application import refuse
from hf_guidance.apps.cli.output import json_text, write_json
from hf_guidance.common.whole_file import whole_file

SUMMARY, PROGRESS = "explanations.json", "explanations.partial.jsonl"


class ExplainedFolder:
    """Results by image: a line in a file of progress for each image that is done, and explanations.json at the end.

    Args:
        folder: Where everything goes; made if it is new.
        settings: What the results depend on; results of other settings are not mixed with these.
        resume: Whether results that are there are kept.

    Attributes:
        done: Image to its entry.

    Raises:
        typer.BadParameter: The folder holds results, and ``resume`` is not given, or they were made by other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], resume: bool) -> None:
        self.folder, self.settings = folder, json.loads(json_text(settings))
        self.done: dict[str, Any] = {}
        held = [name for name in (SUMMARY, PROGRESS) if (folder / name).exists()]
        if held and not resume:
            refuse(
                f"{folder} holds results ({held[0]}); add --resume to keep them and go on, or name another folder.",
                "--output",
            )
        for name in held:
            self._take(name, *(_summary if name == SUMMARY else _progress)(folder / name))
        lines = [self.settings, *self.done.values()]
        with whole_file(folder / PROGRESS) as draft:  # a line that was cut off by a kill is gone then
            draft.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")

    def add(self, entry: Mapping[str, Any]) -> None:
        """Note that an image is done, whose files are written.

        Args:
            entry: Its line of explanations.json; "image" names it.
        """
        self.done[entry["image"]] = json.loads(json_text(entry))
        with (self.folder / PROGRESS).open("a", encoding="utf-8") as progress:
            progress.write(f"{json.dumps(self.done[entry['image']])}\n")
            progress.flush()
            os.fsync(progress.fileno())

    def finish(self, images: Sequence[str], unreadable: Mapping[str, str]) -> dict[str, Any]:
        """Write explanations.json, in the order of the images.

        Args:
            images: All images of this run; others that were done before stand behind them.
            unreadable: Image to the reason.

        Returns:
            What it holds.
        """
        place = {name: number for number, name in enumerate(images)}
        entries = sorted(self.done.values(), key=lambda entry: place.get(entry["image"], len(place)))
        failed = [{"image": name, "reason": why} for name, why in unreadable.items()]
        summary = {**self.settings, "explanations": entries, "unreadable": failed}
        write_json(self.folder / SUMMARY, summary)
        (self.folder / PROGRESS).unlink(missing_ok=True)
        return summary

    def _take(self, name: str, settings: Any, entries: Sequence[Any]) -> None:
        for key, value in self.settings.items():
            if not isinstance(settings, Mapping) or settings.get(key) != value:
                before = settings.get(key) if isinstance(settings, Mapping) else None
                refuse(
                    f"{self.folder / name} was made with {key}={before!r}, and this is {value!r}; name another folder.",
                    "--output",
                )
        whole = [entry for entry in entries if all((self.folder / file).is_file() for file in _files(entry))]
        self.done |= {entry["image"]: entry for entry in whole}


def _files(entry: Mapping[str, Any]) -> list[str]:
    return [entry[kind] for kind in ("picture", "maps") if entry.get(kind)]


def _summary(file: Path) -> tuple[Any, list[Any]]:
    try:
        found = json.loads(file.read_text("utf-8"))
        return found, list(found["explanations"])
    except (ValueError, KeyError, TypeError):
        refuse(f"{file} cannot be read as results of this command; name another folder.", "--output")
        raise


def _progress(file: Path) -> tuple[Any, list[Any]]:
    lines = file.read_text("utf-8").split("\n")[:-1]  # what stands behind the last line break was cut off
    found = [json.loads(line) for line in lines]
    return (found[0], found[1:]) if found else ({}, [])
