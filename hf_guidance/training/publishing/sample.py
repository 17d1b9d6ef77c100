"""A few annotated images of a run, with the maps of the model before training, so that a card can show what changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import torch

from hf_guidance.common.whole_file import whole_file
from hf_guidance.data.annotated import annotated_flags
from hf_guidance.data.columns import ROW, TARGET, TIME, WORD_TOKENS
from hf_guidance.evaluation.said_words import word_text
from hf_guidance.forward import ExplainedRows

BEFORE = "_before_training.pt"  # Trainer uploads nothing whose name begins so
_IMAGES, _TRIED, _LOOKED = 4, 8, 2000


@dataclass
class Sample:
    """What is drawn.

    Attributes:
        batch: As the collator for evaluation made it: one annotated explained row of each image; of a caption all of them.
        names: Of each explained row, the class explained, the question, or the word and its caption.
        held_out: Whether the images are of the evaluation set, and not of the training set.
        before: The maps before training; None where they are unknown.
    """

    batch: dict[str, Any]
    names: list[str]
    held_out: bool
    before: list[npt.NDArray[Any]] | None = None

    def save(self, folder: Path) -> None:
        """Write it into the folder of the run, so that a resumed run goes on with it."""
        maps = None if self.before is None else [torch.as_tensor(np.asarray(one)) for one in self.before]
        plain = {**vars(self), "before": maps}
        with whole_file(folder / BEFORE) as draft:
            torch.save(plain, draft)

    @classmethod
    def load(cls, folder: Path) -> Sample | None:
        """Read it; None where the folder has none. Nothing is unpickled but numbers, texts and tensors."""
        file = folder / BEFORE
        if not file.is_file():
            return None
        plain = torch.load(file, map_location="cpu", weights_only=True)
        maps = plain.pop("before")
        return cls(**plain, before=None if maps is None else [one.numpy() for one in maps])


def sample_of(
    rows: Any,
    sources: Sequence[str],
    collate: Callable[[list[Any]], dict[str, Any]],
    explained: ExplainedRows,
    id2label: Any,
    held_out: bool,
    tokenizer: Any = None,
) -> Sample | None:
    """Choose up to four annotated images of a data set, spread over it; of captions so many that there are four words or more.

    Args:
        rows: A data set with rows that are read by number; of another kind None is returned.
        sources: Columns that hold importance.
        collate: Makes a batch of rows, without augmentation.
        explained: Which columns are of explained rows.
        id2label: Names of the classes, if there are any.
        held_out: Kept with the sample.
        tokenizer: Spells the words of captions; None gives numbers of tokens.
    """
    if not (hasattr(rows, "__len__") and hasattr(rows, "__getitem__")) or not len(rows):
        return None
    taken = [rows[index] for index in _candidates(rows, sources)]
    if not taken:
        return None
    batch = collate(taken)
    chosen = _first(explained.annotated_images(batch), batch)
    if not chosen:
        return None
    batch = explained.draw_one_per_image(explained.annotated_only(explained.take_images(batch, chosen)))
    shown = [taken[index] for index in chosen]
    return Sample(batch, _words(shown, batch, tokenizer) if TIME in batch else _names(shown, batch, id2label), held_out)


def _first(annotated: list[int], batch: dict[str, Any]) -> list[int]:
    """The first four images; of captions the first ones that have four words."""
    if TIME not in batch:
        return annotated[:_IMAGES]
    words = np.cumsum([batch[ROW].count(image) for image in annotated])
    return annotated[: 1 + int(np.searchsorted(words, _IMAGES))]


def _candidates(rows: Any, sources: Sequence[str]) -> list[int]:
    count = min(len(rows), _LOOKED)
    flags = annotated_flags(rows.select(range(count)) if isinstance(rows, datasets.Dataset) else rows, sources)
    if flags is None:
        return list(range(min(count, 2 * _TRIED)))
    annotated = [index for index, flag in enumerate(flags[:count]) if flag]
    places = np.linspace(0, len(annotated) - 1, min(_TRIED, len(annotated))).round().astype(int)
    # Of eight, every second first: four are drawn, and the others are there if the processor crops an annotation away.
    return [annotated[place] for place in (*places[::2], *places[1::2])]


def _names(rows: list[Any], batch: dict[str, Any], id2label: Any) -> list[str]:
    targets = batch.get(TARGET)
    classes = [None] * len(rows) if targets is None else [int(target) for target in targets]
    return [_name(row, target, id2label) for row, target in zip(rows, classes, strict=False)]


def _words(rows: list[Any], batch: dict[str, Any], tokenizer: Any) -> list[str]:
    tokens = batch.get(WORD_TOKENS, batch[TARGET]).reshape(len(batch[ROW]), -1).tolist()
    texts = [word_text([token for token in word if token >= 0], tokenizer) for word in tokens]
    return [f"{text}: {rows[image].get('caption') or ''}" for image, text in zip(batch[ROW], texts, strict=True)]


def _name(row: Any, target: int | None, id2label: Any) -> str:
    label = "" if target is None else str((id2label or {}).get(target, target))
    question = row.get("question") if isinstance(row, dict) else None
    return f"{question} {label}".strip() if isinstance(question, str) else label
