"""YesNoCollator: rows with the original model's map and people's answer, as the tensors of a step."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import datasets
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hf_guidance.data.columns import (
    ANNOTATED,
    ANSWER,
    IMAGE_COLUMNS,
    IMAGE_SOURCES,
    IMPORTANCE,
    NO,
    SAVED_MAP,
    UNANSWERED,
    YES,
)
from hf_guidance.data.images.collator import GuidanceCollator
from hf_guidance.data.images.photo import row_name
from hf_guidance.data.images.row_fingerprint import changes_when_read

_logger = logging.getLogger(__name__)
_CODES = {"yes": YES, "no": NO, "maybe": UNANSWERED, None: UNANSWERED}
_UNUSED = {"transform": None, "control_seed": None, "box_dilation": 0.0}


@dataclass
class YesNoCollator(GuidanceCollator):
    """Collate rows ``{image, labels, saved_map, answer}``, as `with_answers` makes them, for CRAYON's losses.

    Every image has one explained row, of its label. It is annotated if its answer is "yes" or "no"; "maybe", None, no column
    ``answer`` and ``annotated=False`` leave it to the task loss. Boxes and masks are not read in training. The collator of
    ``for_evaluation()`` reads them, so that maps can be measured (EPG), and a row is then annotated by them alone, as of
    `GuidanceCollator`.

    Rows without an answer may lack a map: it is then zeros of the size of the batch's other maps, (1, 1) where none has one.

    Args:
        image_processor: As for `GuidanceCollator`.
        problem_type: "single_label_classification"; the others are refused, because a map explains one class.
        num_labels: Number of classes, to check every label.
        source: Where importance comes from in evaluation; as for `GuidanceCollator`.
        transform: Must be None: saved maps would not follow pixels that are moved. Colours may change in
            ``dataset.with_transform``.
        control_seed: Must be None. The control of yes/no answers is answers dealt at random.
        box_dilation: Must be 0.
        bbox_format: Of boxes in evaluation; as for `GuidanceCollator`.

    Returns:
        On call: ``pixel_values``, ``labels``, ``row``, ``slot``, ``annotated`` and ``target`` as of `GuidanceCollator`;
        ``saved_map`` (rows, h, w) float32, ``answer``, a list of 1 (yes), 0 (no) and -1 (neither). In evaluation
        ``importance`` as well.

    Raises:
        ValueError: On construction for options that it does not take; on call for an unknown answer, an answered row without
            a map, or maps of several sizes or with NaN. The message names the row.

    Example:
        >>> train = with_answers(train, SavedMaps.from_folder("maps"), read_answers("answers.json"))
        >>> collator = YesNoCollator(image_processor, num_labels=2)
    """

    columns: ClassVar[tuple[str, ...]] = (*IMAGE_COLUMNS, SAVED_MAP, ANSWER)
    sources: ClassVar[tuple[str, ...]] = (ANSWER,)

    evaluates: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.problem_type != "single_label_classification":
            raise ValueError(
                f"YesNoCollator(problem_type={self.problem_type!r}): a saved map explains one class of an image; allowed: "
                "'single_label_classification'."
            )
        given = {name: getattr(self, name) for name, unused in _UNUSED.items() if getattr(self, name) != unused}
        if given:
            raise ValueError(
                f"YesNoCollator({', '.join(f'{name}={value!r}' for name, value in given.items())}): saved maps do not follow "
                "pixels that are moved, and boxes are not trained with. Leave it out; colours may change in "
                "dataset.with_transform(...)."
            )

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate; see the class."""
        batch = super().__call__(rows if self.evaluates else [_without_sources(row) for row in rows])
        if ANNOTATED not in batch:  # rows without labels can only be predicted
            return batch
        names = [row_name(row, index) for index, row in enumerate(rows)]
        answers = [_answer(row, name) for row, name in zip(rows, names, strict=True)]
        batch[ANSWER] = answers
        batch[SAVED_MAP] = _saved_maps(rows, answers, names)
        if not self.evaluates:
            batch[ANNOTATED] = [answer != UNANSWERED for answer in answers]
            del batch[IMPORTANCE]
        return batch

    def check_rows(self, rows: Any, name: str) -> None:
        """Warn of a data set whose transform changes pixels from one time to the next: maps do not follow moves."""
        if not isinstance(rows, datasets.Dataset) or rows.format["type"] != "custom":
            return
        if SAVED_MAP in rows.column_names and changes_when_read(rows):
            _logger.warning(
                f"the transform of {name} is random: where it moves pixels (crops, flips, rotates), saved maps do not follow "
                "and mark other places. A change of colours alone is no fault."
            )

    def for_evaluation(self) -> Self:
        """The same collator, with boxes and masks of the rows as importance, and rows annotated by them."""
        found = replace(self)
        found.evaluates = True
        found.sources = IMAGE_SOURCES  # type: ignore[misc]
        return found


def _without_sources(row: Mapping[str, Any]) -> Mapping[str, Any]:
    # Of a row that is not annotated no importance is read, whatever the source.
    return {name: value for name, value in row.items() if name not in IMAGE_SOURCES} | {ANNOTATED: False}


def _answer(row: Mapping[str, Any], name: str) -> int:
    word = row.get(ANSWER)
    if word is not None and (not isinstance(word, str) or word not in _CODES):
        raise ValueError(f"{name} has the answer {word!r:.60}; allowed: 'yes', 'no', 'maybe' and None.")
    flag = row.get(ANNOTATED)
    return _CODES[word] if flag is None or bool(flag) else UNANSWERED


def _saved_maps(rows: Sequence[Mapping[str, Any]], answers: Sequence[int], names: Sequence[str]) -> Tensor:
    maps = [_saved_map(row, answer, name) for row, answer, name in zip(rows, answers, names, strict=True)]
    sizes = {name: each.shape for name, each in zip(names, maps, strict=True) if each is not None}
    first, size = next(iter(sizes.items()), ("", (1, 1)))
    other = next((name for name in sizes if sizes[name] != size), None)
    if other is not None:
        raise ValueError(
            f"{other} has a saved map of {sizes[other]}, {first} one of {size}: they come from several extractions. Extract "
            "the maps of all rows together."
        )
    nothing = np.zeros(size, np.float32)
    return torch.from_numpy(np.stack([nothing if each is None else each for each in maps]))


def _saved_map(row: Mapping[str, Any], answer: int, name: str) -> npt.NDArray[np.float32] | None:
    value = row.get(SAVED_MAP)
    if value is None:
        if answer == UNANSWERED:
            return None
        raise ValueError(
            f"{name} is answered and has no map in column 'saved_map'; add the maps that people saw: "
            "with_answers(dataset, SavedMaps.from_folder(folder), answers)."
        )
    found = np.asarray(value, np.float32)
    if found.ndim != 2 or not found.size or not np.isfinite(found).all():
        raise ValueError(
            f"{name} has a saved map of shape {found.shape}"
            + (", with NaN or infinity" if found.ndim == 2 and found.size else "")
            + "; give (height, width) finite numbers, as extract_maps makes them."
        )
    return found
