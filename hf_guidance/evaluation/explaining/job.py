"""ImageJob: images one after the other made ready for the model, explained in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from torch import Tensor, nn

from hf_guidance.attributions import Attribution
from hf_guidance.evaluation.explaining.batches import ExplainedBatch, explained_batch
from hf_guidance.evaluation.explaining.explanations import Explanation, Floats
from hf_guidance.evaluation.explaining.given import GivenImage
from hf_guidance.evaluation.explaining.models import device_of
from hf_guidance.evaluation.explaining.pixels import PIXELS, TRIES, GivenPixels, processed, refuse_chance, stacked
from hf_guidance.evaluation.explaining.placement import Placement, Placements
from hf_guidance.evaluation.explaining.targets import Wanted, check_classes, probabilities
from hf_guidance.families import Family
from hf_guidance.forward.sizes import images_per_call


@dataclass(frozen=True)
class _Ready:
    """An image ready for the model: its columns (1, ...), and where its pixels lie in it."""

    image: GivenImage | GivenPixels
    wanted: Sequence[Wanted]
    columns: Mapping[str, Tensor]
    placement: Placement

    @property
    def shapes(self) -> Any:
        return {name: (value.shape, value.dtype) for name, value in self.columns.items()}


@dataclass(frozen=True)
class ImageJob:
    """Explains images, as many at once as fit; used inside ``quiet``.

    Attributes:
        model: The unwrapped model.
        family: Of the model.
        method: The attribution.
        labels: Names of the classes, or None.
        batch_size: Images per call; None chooses.
        max_rows: Copies per call; None chooses.
    """

    model: nn.Module
    family: Family
    method: Attribution
    labels: list[str] | None
    batch_size: int | None
    max_rows: int | None

    def run(
        self, given: Sequence[Any], wanted: Sequence[Sequence[Wanted]], processor: Any
    ) -> Iterator[list[Explanation]]:
        """The explanations, batch by batch. An image is read when its batch comes.

        Args:
            given: The images.
            wanted: Of each image, the classes to explain.
            processor: Makes the model's pixels; None where they are given.

        Raises:
            ValueError: An image cannot be read, or there is no such class.
        """
        read = _reader(processor)
        ready = (_Ready(image, classes, *read(image)) for image, classes in zip(given, wanted, strict=True))
        checked = False
        for _, alike in groupby(ready, lambda image: image.shapes):
            for batch in self._cut(alike):
                found = self._explained(batch)
                if not checked:
                    check_classes(wanted, len(found[0].logits))  # all of them, before the rest is worked through
                    checked = True
                yield found

    def _cut(self, images: Iterator[_Ready]) -> Iterator[list[_Ready]]:
        batch: list[_Ready] = []
        for image in images:
            batch.append(image)
            if len(batch) == (self.batch_size or self._rows(image)):
                yield batch
                batch = []
        if batch:
            yield batch

    def _rows(self, image: _Ready) -> int:
        return images_per_call(image.columns[PIXELS], device_of(self.model))

    def _explained(self, batch: Sequence[_Ready]) -> list[Explanation]:
        columns = {
            name: value.to(device_of(self.model)) for name, value in stacked([one.columns for one in batch]).items()
        }
        wanted = [one.wanted for one in batch]
        done = explained_batch(self.model, self.family, columns, self.method, wanted, self.max_rows)
        scores = probabilities(done.logits, self.model)
        maps = iter(done.maps)
        return [
            self._explanation(one, number, next(maps), done, scores[index], index)
            for index, one in enumerate(batch)
            for number in done.classes[index]
        ]

    def _explanation(
        self, one: _Ready, number: int, raw: Floats, done: ExplainedBatch, scores: Floats, index: int
    ) -> Explanation:
        logits = done.logits[index]
        return Explanation(
            index=one.image.index,
            target=number,
            label=self.labels[number] if self.labels is not None and number < len(self.labels) else str(number),
            score=float(scores[number]),
            logit=float(logits[number]),
            logits=logits,
            raw=raw,
            placement=one.placement.part(done.seen),
            attribution=self.method,
            image=one.image,
        )


def _reader(processor: Any) -> Callable[[Any], tuple[dict[str, Tensor], Placement]]:
    """Makes the model's columns of an image, and tells where their pixels lie in it."""
    if processor is None:
        # Cloned, because tensors made under inference_mode cannot be differentiated.
        return lambda image: ({PIXELS: image.pixels[None].clone()}, Placement.whole(tuple(image.pixels.shape[1:])))
    places = Placements(
        lambda picture: processed(processor, picture)[PIXELS][0].double().cpu().numpy(), type(processor).__name__
    )

    checked: set[tuple[int, int]] = set()

    def read(image: GivenImage) -> tuple[dict[str, Tensor], Placement]:
        picture = image.read()
        if picture.size not in checked:
            refuse_chance(processor, picture.size, tries=2 if checked else TRIES)  # so sets of many sizes stay quick
            checked.add(picture.size)
        return processed(processor, picture), places.of((picture.height, picture.width))

    return read
