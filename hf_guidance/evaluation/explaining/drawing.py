"""Figures of explanations, and the files that they are saved in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hf_guidance.attributions import Attribution
from hf_guidance.common.progress import progress
from hf_guidance.common.whole_file import whole_file
from hf_guidance.evaluation.explaining.given import GivenImage
from hf_guidance.evaluation.explaining.pixels import GivenPixels
from hf_guidance.evaluation.explaining.placement import Placement
from hf_guidance.evaluation.figures import Panel, panel_figure, save_figure
from hf_guidance.guidance.expression import method_text

SUMMARY = "explanations.json"
_MOST_IMAGES = 40  # of a figure
_LONGEST = 400  # pixels of a picture in a figure
_NAME = 40  # characters of an image's name in a title or a file


class Drawn(Protocol):
    """What a figure reads of an explanation."""

    @property
    def index(self) -> int:
        """Number of the image."""

    @property
    def label(self) -> str:
        """Name of the class."""

    @property
    def score(self) -> float:
        """Its probability."""

    @property
    def raw(self) -> npt.NDArray[np.floating]:
        """The map on its grid."""

    @property
    def placement(self) -> Placement:
        """Where the grid lies."""

    @property
    def attribution(self) -> Attribution:
        """The method."""

    @property
    def image(self) -> GivenImage | GivenPixels:
        """The image."""

    def to_dict(self) -> dict[str, Any]:
        """What the summary says of it."""


def figure_of(images: Sequence[Sequence[Drawn]]) -> Any:
    """A matplotlib Figure with a line per image.

    Args:
        images: The explanations of each image.

    Raises:
        ValueError: There is none, or there are more images than a figure holds.
    """
    if len(images) > _MOST_IMAGES:
        raise ValueError(
            f"{len(images)} images are too many for one figure, which holds {_MOST_IMAGES}; take some of the explanations, as "
            "explanations[:20], or save them to a folder, a PNG per image."
        )
    methods = dict.fromkeys(method_text(one.attribution) for found in images for one in found)
    return panel_figure([_line(found) for found in images], title="\n".join(methods))


def saved(images: Sequence[Sequence[Drawn]], path: Path) -> list[Path]:
    """Write one figure, or a folder of them; see ``Explanations.save``."""
    if path.suffix and not path.is_dir():
        save_figure(figure_of(images), path)
        return [path]
    if path.exists() and not path.is_dir():
        raise ValueError(
            f"{path} is a file without a suffix, so no folder can be made there; give a folder, or a file that ends in .png."
        )
    files, entries = [], []
    for found in progress(images, "saving", unit="image"):
        file = path / f"{found[0].index:05d}-{_file_name(found[0].image.name)}.png"
        save_figure(figure_of([found]), file)
        files.append(file)
        entries += [one.to_dict() | {"picture": file.name} for one in found]
    with whole_file(path / SUMMARY) as draft:
        draft.write_text(json.dumps({"explanations": entries}, indent=2) + "\n", encoding="utf-8")
    return [*files, path / SUMMARY]


def _line(found: Sequence[Drawn]) -> list[Panel]:
    picture = found[0].image.shown().convert("RGB")
    picture.thumbnail((_LONGEST, _LONGEST))
    image, size = np.asarray(picture, float) / 255, (picture.height, picture.width)
    panels = [Panel(image, title=_short(Path(found[0].image.name).name))]
    for one in found:
        # Drawn at the size of the figure, at which a map of a large photo costs little.
        placed = one.placement.scaled(size)
        frame = None if placed.seen == (0, size[0], 0, size[1]) else placed.seen
        panels.append(
            Panel(image, placed.onto_image(one.raw), seen=frame, title=f"{_short(one.label)} {one.score:.2f}")
        )
    return panels


def _short(text: str) -> str:
    return text if len(text) <= _NAME else f"{text[: _NAME - 3]}..."


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in Path(name).stem)[:_NAME]
