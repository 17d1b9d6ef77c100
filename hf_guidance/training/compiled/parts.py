"""The images of one step, and the tensors among what a batch says of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hf_guidance.data.columns import IMAGE_ID, QUESTION, QUESTION_ID


@dataclass(frozen=True)
class StepParts:
    """The batches of one step.

    Attributes:
        annotated: The batch whose images the step guides; None where it guides none.
        rest: The batch of the other images, if they are called apart.
        order: The place of each image of the collated batch in the two joined.
    """

    annotated: Mapping[str, Any] | None
    rest: Mapping[str, Any] | None
    order: list[int]

    def without_texts(self, inputs: Collection[str]) -> StepParts:
        """Without the texts and ids of questions, which differ in every batch and are read by evaluation alone.

        Args:
            inputs: Columns that the model itself reads; they stay.
        """
        parts = []
        for part in (self.annotated, self.rest):
            dropped = {name for name in (QUESTION, QUESTION_ID, IMAGE_ID) if part and _is_texts(part.get(name))} - set(
                inputs
            )
            parts.append(part and {name: value for name, value in part.items() if name not in dropped})
        return StepParts(parts[0], parts[1], self.order)

    def tensors(self) -> list[Tensor]:
        """All tensors of both, also those inside of lists and mappings, in one order."""
        return [tensor for part in (self.annotated, self.rest) if part is not None for tensor in _tensors(part)]

    def with_tensors(self, tensors: list[Tensor]) -> StepParts:
        """The same with other tensors, in the order of ``tensors``."""
        following = iter(tensors)

        def put(tensor: Tensor) -> Tensor:
            return next(following)

        parts = [None if part is None else _replaced(part, put) for part in (self.annotated, self.rest)]
        return StepParts(parts[0], parts[1], self.order)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(entry is None or isinstance(entry, str) for entry in value)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif type(value) in (list, tuple):
        for inner in value:
            yield from _tensors(inner)


def _replaced(value: Any, put: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return put(value)
    if isinstance(value, Mapping):
        return {name: _replaced(inner, put) for name, inner in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_replaced(inner, put) for inner in value)
    return value
