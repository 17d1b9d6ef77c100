"""The folder of ``hf-guidance explain``: pictures, explanations.json, and what lets a run that was stopped go on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_guidance.apps.cli.application import refuse
from hf_guidance.apps.cli.output import json_text, write_json
from hf_guidance.common.text_files import read_json, read_text
from hf_guidance.common.whole_file import whole_file

MAPS = ("none", "npy", "safetensors")
"""Formats of the maps' numbers."""
SUMMARY, PROGRESS = "explanations.json", "explanations.partial.jsonl"


class ExplainedFolder:
    """Results by image: a line in a file of progress for each image that is done, and explanations.json at the end.

    Nothing is written before the first image is done, so that a run that fails at once leaves no folder behind.

    Args:
        folder: Where everything goes; made if it is new.
        settings: What the results depend on; results of other settings are not mixed with these.
        resume: Whether results that are there are kept.

    Attributes:
        done: Image to its entry.

    Raises:
        typer.BadParameter: The folder is a file, or holds results, and ``resume`` is not given, or they were made by other
            settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], resume: bool) -> None:
        self.folder, self.settings = folder, json.loads(json_text(settings))
        self.done: dict[str, Any] = {}
        self._begun = False
        if folder.exists() and not folder.is_dir():
            refuse(f"{folder} is a file; name a folder.", "--output")
        held = [name for name in (SUMMARY, PROGRESS) if (folder / name).exists()]
        if held and not resume:
            refuse(
                f"{folder} holds results ({held[0]}); add --resume to keep them and go on, or name another folder.",
                "--output",
            )
        for name in held:
            self._take(folder / name, *_held(folder / name))

    def left(self, contents: Mapping[str, str], names: Mapping[str, str]) -> list[str]:
        """The images that are not done yet, or have changed since.

        Args:
            contents: Image to the fingerprint of its content.
            names: Image to the path of its results in the folder, without ending.

        Returns:
            Images, in the order given.

        Raises:
            typer.BadParameter: The results of one would replace those of another image.
        """
        left = [name for name, content in contents.items() if self.done.get(name, {}).get("sha256") != content]
        taken = {file: image for image, entry in self.done.items() for file in _files(entry)}
        for image in left:
            for kind in ("png", *MAPS[1:]):
                owner = taken.get(f"{names[image]}.{kind}", image)
                if owner != image:
                    refuse(
                        f"{self.folder / names[image]}.{kind} is the result of {owner}, and {image} would replace it; name "
                        "another folder.",
                        "--output",
                    )
        for image in left:
            self.done.pop(image, None)  # which is stale, even if the image cannot be read any more
        return left

    def add(self, entry: Mapping[str, Any]) -> None:
        """Note that an image is done, whose files are written.

        Args:
            entry: Its line of explanations.json; "image" names it.
        """
        if not self._begun:
            lines = [self.settings, *self.done.values()]
            with whole_file(self.folder / PROGRESS) as draft:  # a line that was cut off by a kill is gone then
                draft.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
            self._begun = True
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

    def _take(self, file: Path, settings: Any, entries: Sequence[Any]) -> None:
        for key, value in self.settings.items():
            if settings.get(key) != value:
                refuse(
                    f"{file} was made with {key}={settings.get(key)!r}, and this is {value!r}; name another folder.",
                    "--output",
                )
        whole = [entry for entry in entries if all((self.folder / name).is_file() for name in _files(entry))]
        self.done |= {entry["image"]: entry for entry in whole}


def _files(entry: Mapping[str, Any]) -> list[str]:
    return [entry[kind] for kind in ("picture", "maps") if entry.get(kind)]


def _held(file: Path) -> tuple[dict[str, Any], list[Any]]:
    """The settings and the entries of a file of results."""
    try:
        if file.name == SUMMARY:
            settings = read_json(file)
            entries = settings["explanations"]
        else:
            lines = read_text(file).split("\n")[:-1]  # what stands behind the last line break was cut off
            settings, *entries = [json.loads(line) for line in lines]
        if not all(isinstance(name, str) for entry in entries for name in (entry["image"], *_files(entry))):
            raise TypeError("a name is no text")
        return {**settings}, list(entries)
    except (ValueError, KeyError, TypeError, AttributeError):
        refuse(
            f"{file} cannot be read as results of this command; name another folder, or delete it to begin anew.",
            "--output",
        )
        raise
