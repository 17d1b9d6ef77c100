"""What ``explain`` returns: a map for each explained class of each image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from hf_guidance.attributions import Attribution
from hf_guidance.evaluation.explaining.drawing import figure_of, saved
from hf_guidance.evaluation.explaining.given import GivenImage
from hf_guidance.evaluation.explaining.pixels import GivenPixels
from hf_guidance.evaluation.explaining.placement import Placement
from hf_guidance.guidance.expression import method_text

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where the model looks for one class of one image.

    Attributes:
        index: Number of the image among those given.
        target: Number of the class.
        label: Its name; its number where the model has no names.
        score: Its probability (softmax, or sigmoid for several labels).
        logit: Its logit.
        logits: (classes,) all logits of the image.
        raw: (height, width) the map on the grid where it was taken, float32 (float64 of float64 pixels). Where a method is
            complete (IntegratedGradients), this is what sums to the difference of the scores.
        placement: Where that grid lies in the image.
        attribution: The method.
        image: The image.
    """

    index: int
    target: int
    label: str
    score: float
    logit: float
    logits: Floats = field(repr=False)
    raw: Floats = field(repr=False)
    placement: Placement = field(repr=False)
    attribution: Attribution
    image: GivenImage | GivenPixels = field(repr=False)

    @property
    def name(self) -> str:
        """The path of the image, or "image 3"."""
        return self.image.name

    @property
    def map(self) -> Floats:
        """(height, width) the map on the pixels of the image, made when it is asked for.

        Bilinear between places, averaged where the image has fewer pixels than the map places. It is 0 where the model sees
        nothing, because the processor cuts it off: such pixels have no influence. ``seen`` tells which.
        """
        return self.placement.onto_image(self.raw)

    @property
    def seen(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of the part of the image that the places cover, in pixels, half-open."""
        return self.placement.seen

    def to_dict(self) -> dict[str, Any]:
        """All but the numbers of the map, as JSON can hold it."""
        return {
            "image": self.name, "index": self.index, "target": self.target, "label": self.label, "score": self.score,
            "logit": self.logit, "size": list(self.placement.size), "seen": list(self.seen), "places": list(self.raw.shape),
            "attribution": method_text(self.attribution),
        }  # fmt: skip

    def plot(self) -> Any:
        """A matplotlib Figure: the image, and the map over it."""
        return figure_of([[self]])

    def save(self, path: str | Path) -> list[Path]:
        """Write the figure to a file, or to a folder; see ``Explanations.save``."""
        return saved([[self]], Path(path))


class Explanations(Sequence[Explanation]):
    """Explanations, image by image and class by class. Slices are Explanations, too.

    Example:
        >>> found = explain(model, ["cat.jpg", "dog.jpg"], processor)
        >>> found[0].label, found.maps[0].shape
        ('cat', (480, 640))
        >>> found.save("maps")  # a PNG per image and explanations.json
    """

    def __init__(self, explanations: Sequence[Explanation]) -> None:
        self._all = list(explanations)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...

    @overload
    def __getitem__(self, index: slice) -> Explanations: ...

    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        """One of them, or some."""
        return Explanations(self._all[index]) if isinstance(index, slice) else self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self._all)

    def __repr__(self) -> str:
        shown = ", ".join(f"{one.name}: {one.label} {one.score:.2f}" for one in self._all[:3])
        return f"Explanations({len(self)}: {shown}{', ...' if len(self) > 3 else ''})"

    @property
    def maps(self) -> Floats | list[Floats]:
        """The maps on the pixels of the images: (n, height, width), or a list where images differ in size."""
        maps = [one.map for one in self]
        return np.stack(maps) if len({one.shape for one in maps}) == 1 else maps

    @property
    def scores(self) -> Floats:
        """(n,) the probabilities of the explained classes."""
        return np.array([one.score for one in self])

    @property
    def logits(self) -> Floats:
        """(n, classes) all logits of the image, for each explanation."""
        return np.stack([one.logits for one in self]) if len(self) else np.empty((0, 0))

    @property
    def labels(self) -> list[str]:
        """The names of the explained classes."""
        return [one.label for one in self]

    @property
    def targets(self) -> list[int]:
        """The numbers of the explained classes."""
        return [one.target for one in self]

    def by_image(self) -> list[Explanations]:
        """Those of each image, in order."""
        images: dict[int, list[Explanation]] = {}
        for one in self:
            images.setdefault(one.index, []).append(one)
        return [Explanations(found) for found in images.values()]

    def to_dict(self) -> dict[str, Any]:
        """All but the numbers of the maps, as JSON can hold it."""
        return {"explanations": [one.to_dict() for one in self]}

    def plot(self) -> Any:
        """A matplotlib Figure with a line per image: the image, and the map of each of its classes over it.

        Red speaks for the class, blue against it; maps without negative values are drawn in one colour. Each map is drawn
        to its own scale: the value that 0.5 % of its places exceed. A dashed frame shows what the model sees, where that is
        not the whole image.

        Raises:
            ValueError: More images than a figure holds.
        """
        return figure_of(self.by_image())

    def save(self, path: str | Path) -> list[Path]:
        """Write figures: one file for all, or a folder with a PNG per image and ``explanations.json``.

        Every file is whole or absent, and ``explanations.json`` is written last.

        Args:
            path: A file, whose suffix decides the format (.png, .pdf, .svg, .jpg), or a folder, without a suffix.

        Returns:
            The files.

        Raises:
            ValueError: An unknown suffix; or more images than a figure holds.
        """
        return saved(self.by_image(), Path(path))
