"""explain_words: where a captioner looks for each visual word of the captions of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
from torch import Tensor, nn

from hf_guidance.attributions import Attribution, Gradient, WordLogit
from hf_guidance.data.captions.segmentations import category_masks
from hf_guidance.data.captions.visual_words import VisualWords
from hf_guidance.data.columns import ANNOTATED, IMPORTANCE, ROW, TIME
from hf_guidance.evaluation.displayed import displayed
from hf_guidance.evaluation.explaining.methods import method_of
from hf_guidance.evaluation.explaining.models import device_of, plain_model, quiet
from hf_guidance.evaluation.explaining.sizes import check_counts
from hf_guidance.evaluation.figures import on_pixels
from hf_guidance.evaluation.row_pictures import row_picture
from hf_guidance.evaluation.said_words import SaidWord, said_words
from hf_guidance.families import Family, family_of
from hf_guidance.forward import Forward

Floats = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class WordExplanation:
    """Where the model looks for one word of a caption.

    Attributes:
        row: Number of the row among those given.
        caption: Its caption.
        time: Place of the word's first token in the caption.
        word: The word, as the vocabulary has it, and its probability under the model.
        attribution: (objects,) one number a box, or (height, width) a map of places, signed.
        importance: (objects,) or (height, width) in [0, 1], what people say; None where the word is not annotated.
        mask: (height, width) bool, where people see what the word names, in the size of their masks; None where the row has no
            mask of it.
        boxes: (objects, 4) xyxy in [0, 1], without padding; None for maps of places.
        image: (height, width, 3) in [0, 1]: the image of the row, or its boxes on white where it has none; of a model of pixels
            what it is given.
        method: The attribution.
    """

    row: int
    caption: str
    time: int
    word: SaidWord
    attribution: Floats = field(repr=False)
    importance: Floats | None = field(repr=False)
    mask: Floats | None = field(repr=False)
    boxes: Floats | None = field(repr=False)
    image: Floats = field(repr=False)
    method: Attribution

    def on_image(self, overlap: str = "mean") -> Floats:
        """The attribution on the pixels of ``image``, (height, width), signed.

        Args:
            overlap: What a pixel in several boxes gets: the "mean" of their values, or their "sum".
        """
        return on_pixels(self.attribution, self.boxes, (self.image.shape[0], self.image.shape[1]), overlap)


def explain_words(
    model: Any,
    collator: Any,
    rows: Any,
    attribution: Attribution | str | None = None,
    *,
    batch_size: int = 32,
    family: Family | None = None,
) -> list[WordExplanation]:
    """Explain the visual words of the captions of rows, all words of a batch by one call of the model.

    To explain the words that a model says itself, put them into the column ``caption``; see `generate_captions`.

    Args:
        model: A captioner, in any mode; it is left as it was.
        collator: A `CaptionCollator`, which says which words are visual.
        rows: A map-style dataset, or a list of rows, with captions and masks (``segmentations``): words of categories that the
            image has no mask of are not explained.
        attribution: A method whose target is a word; None is ``Gradient(target=WordLogit())``.
        batch_size: Rows of a call, at least 1.
        family: Of the model, by hand; found when None.

    Returns:
        The words in the order of the rows and of their captions; none for a row without an explained word.

    Raises:
        ValueError: No row, rows without caption or that cannot be used, as the collator says, another attribution, or a model
            that says no words.

    Example:
        >>> found = explain_words(trainer.model, trainer.data_collator, test.select(range(3)))
        >>> found[0].word.text, found[0].attribution.argmax()
        ('circle', 4)
    """
    check_counts(batch_size=batch_size)
    if not len(rows):
        raise ValueError("rows is empty; give at least one row with a caption.")
    net = plain_model(model)
    known = family or family_of(net)
    if not known.times:
        raise ValueError(f"{type(net).__name__} says no words; for images use explain, for questions explain_answer.")
    method = Gradient(target=WordLogit()) if attribution is None else method_of(attribution, known)
    found: list[WordExplanation] = []
    with quiet(net):
        for start in range(0, len(rows), batch_size):
            some = [rows[index] for index in range(start, min(start + batch_size, len(rows)))]
            found += _of_batch(net, known, collator, some, method, start)
    return found


def _of_batch(
    net: nn.Module, family: Family, collator: Any, rows: Sequence[Any], method: Attribution, start: int
) -> list[WordExplanation]:
    device = device_of(net)
    batch = {name: _on_device(column, device) for name, column in collator(rows).items()}
    if ROW not in batch:
        raise ValueError("rows have no captions, so there is no word to explain; generate_captions makes some.")
    if not batch[ROW]:
        return []
    forward = Forward(net, family, batch, method.needs())
    maps, importance = forward.attribution(method).cpu().numpy(), batch[IMPORTANCE].float().cpu().numpy()
    pictures = None if not family.images else displayed(batch[family.features], collator.image_processor)
    boxes, real = batch.get(getattr(family, "boxes", "")), forward.real_places(maps.shape[1:])
    found = []
    for pair, (image, word) in enumerate(zip(batch[ROW], said_words(forward, collator.tokenizer), strict=True)):
        row = rows[image]
        places = slice(None) if real is None else real[image].cpu().numpy()
        corners = None if boxes is None or maps.ndim > 2 else boxes[image].float().cpu().numpy()[places]
        shown = None if pictures is None else pictures[image]
        found.append(
            WordExplanation(
                start + image,
                row["caption"],
                batch[TIME][pair],
                word,
                maps[pair][places],
                importance[pair][places] if batch[ANNOTATED][pair] else None,
                _mask(row, word.text, collator.words),
                corners,
                row_picture(row, [] if corners is None else corners, f"row {start + image}")
                if shown is None
                else shown,
                method,
            )
        )
    return found


def _mask(row: Mapping[str, Any], word: str, words: VisualWords) -> Floats | None:
    category = words.category(word) if any(letter.isalnum() for letter in word) else None
    return None if category is None else category_masks(row["segmentations"], {category}).get(category)


def _on_device(column: Any, device: Any) -> Any:
    """A column of a batch on a device; lists stay."""
    return column.to(device) if isinstance(column, Tensor) else column
