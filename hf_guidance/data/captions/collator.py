"""CaptionCollator: turns rows of captions into the tensors of a step."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.data.builder_base import id_text
from hf_guidance.data.captions.importance import SCORES, word_importance
from hf_guidance.data.captions.segmentations import named_categories
from hf_guidance.data.captions.tokens import CaptionEncoder, CaptionTokens
from hf_guidance.data.captions.visual_words import VisualWords, table_of
from hf_guidance.data.collator import RowCollator
from hf_guidance.data.columns import (
    ANNOTATED,
    CAPTION_COLUMNS,
    CAPTION_SOURCES,
    IMPORTANCE,
    RANDOM_IMPORTANCE,
    ROW,
    SLOT,
    TARGET,
    TIME,
    WORD_TOKENS,
)
from hf_guidance.data.counting import count_and_log
from hf_guidance.data.images.processed_pixels import ProcessedPixels, all_tensors, row_pixels
from hf_guidance.data.questions.region_check import check_features
from hf_guidance.data.questions.row_objects import object_columns, padded, row_objects

_Array = npt.NDArray[np.float32]
EXPLAINED = ("words", "caption")


@dataclass(frozen=True)
class _Word:
    """A visual word of a caption of the batch: an explained row."""

    row: int
    slot: int
    time: int
    tokens: list[int]
    importance: _Array | None


@dataclass
class CaptionCollator(RowCollator):
    """Collate rows ``{caption, segmentations, features, boxes, ...}`` into the batch that a guided captioner reads.

    Every visual word of a caption whose category has a mask in the image becomes an explained row; see `word_importance`. It
    explains the word from the time on at which the model predicts its first token. A word is annotated if its importance is
    above zero somewhere, unless its row's ``annotated`` is False (`with_annotated_fraction`): then it has no importance and
    guides nothing.

    Images are boxes with features, of the row or looked up in ``regions`` by ``image_id``; or, with ``image_processor`` or
    rows with ``pixel_values``, pixels.

    ``counts`` counts what is allowed but worth knowing, and the first case of each kind is logged (the counts are those of
    the process that collates; each worker of a DataLoader has its own): captions cut at ``max_length``, captions without a
    visual word, masks of a category that no word of the table names, words whose category has no mask in the image, visual
    words beyond ``max_length``, visual words that the vocabulary lacks, which are not explained, and unknown words.

    Args:
        tokenizer: A fast tokenizer with tokens of the beginning and of the end; see `CaptionEncoder`. For instance
            ``hf_guidance.models.caption_tokenizer(train["caption"])``.
        words: Which words are visual, and of which category; None for `VisualWords.coco`.
        regions: ``regions[image_id] -> (features, boxes)``, for example a `RegionFeatures`; None when rows hold both.
        image_processor: That of a model that reads pixels; None for boxes.
        decoder: Whether the model is an encoder with a decoder (VisionEncoderDecoderModel): ``input_ids`` and
            ``attention_mask`` are called ``decoder_input_ids`` and ``decoder_attention_mask`` then.
        begin: The token before the first word, which must be the one that ``generate()`` of the model begins with: None for
            the tokenizer's. BLIP has ``model.config.text_config.bos_token_id``, an encoder-decoder
            ``model.config.decoder_start_token_id``.
        max_length: Tokens of a caption; longer ones are cut, and counted.
        score: Importance of boxes: "contrast" (eq. 1 of HINT) or "share" of the box that the mask covers.
        explain: "words" makes every visual word an explained row, "caption" every caption, as one word of all its tokens, for
            which people say nothing: take ``WordLogit("sum")`` as the target then.
        seed: Seed of ``random_importance``: one uniform number in [0, 1) per box or pixel, the same for a word of a caption in
            every epoch.

    Returns:
        On call: ``input_ids`` (images, time) int64, BEGIN w1 .. wn, ``attention_mask`` (images, time) int64, and ``labels``
        (images, time) int64, w1 .. wn END, -100 where there is no word: the logits at position t predict ``labels[:, t]``;
        none of the three unless rows have captions. ``visual_feats`` (images, objects, dims) float32, ``visual_pos``
        (images, objects, 4) float32 xyxy in [0, 1], ``visual_attention_mask`` (images, objects) int64, 0 for padding; or
        ``pixel_values`` (images, channels, height, width) float32. With one entry per explained row: lists ``row`` (its
        image), ``slot`` (its number among those of its image), ``time`` (its position in ``labels``) and ``annotated``;
        ``target`` (rows,) int64, the first token of the word; ``word_tokens`` (rows, tokens) int64, all of them, -1 behind
        the last; ``importance`` and ``random_importance`` (rows, objects) or (rows,
        height, width) float32.

    Raises:
        ValueError: On construction for a tokenizer without tokens of beginning and end, and unknown options; on call for an
            empty batch, and for a row that cannot be used (an empty caption, no features, masks of another form), which the
            message names.

    Example:
        >>> collator = CaptionCollator(caption_tokenizer(train["caption"]), regions=regions)
    """

    columns: ClassVar[tuple[str, ...]] = CAPTION_COLUMNS
    sources: ClassVar[tuple[str, ...]] = CAPTION_SOURCES

    tokenizer: Any
    words: VisualWords | None = None
    regions: Any = None
    image_processor: Any = None
    decoder: bool = False
    begin: int | None = None
    max_length: int = 20
    score: str = "contrast"
    explain: str = "words"
    seed: int = 0
    counts: Counter[str] = field(default_factory=Counter, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_choice("score", self.score, SCORES)
        check_choice("explain", self.explain, EXPLAINED)
        self.words = table_of(self.words)
        self._categories = frozenset(self.words.categories)
        self._encoder = CaptionEncoder(self.tokenizer, self.max_length, self.begin)
        self._pixels = ProcessedPixels(self.image_processor)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate; see the class."""
        if not len(rows):
            raise ValueError("the batch is empty; give at least one row. Does a filter leave no caption?")
        names = [f"row {index} of the batch (caption_id {row.get('caption_id')!r})" for index, row in enumerate(rows)]
        batch, places, ready = self._images(rows, names)
        if all(row.get("caption") is None for row in rows):  # such rows can only be captioned
            return batch
        captions = [_caption(row, name) for row, name in zip(rows, names, strict=True)]
        encoded = self._encoder.encode(captions)
        self._count_tokens(captions, encoded, names)
        words = [
            word
            for index, caption in enumerate(captions)
            for word in self._words(index, rows[index], caption, encoded[index], places[index], names[index])
        ]
        said = self._encoder.columns(encoded)
        if self.decoder:
            said = {name if name == "labels" else f"decoder_{name}": column for name, column in said.items()}
        return batch | said | self._explained(words, rows, batch, ready)

    @property
    def end(self) -> int:
        """The token after the last word."""
        return self._encoder.end

    def for_evaluation(self) -> Self:
        """The same collator; it shares ``counts``."""
        same = replace(self)
        same.counts = self.counts
        return same

    def check_rows(self, rows: Any, name: str) -> None:
        """Raise a ValueError, with their number, if images of a data set have no features in ``regions``."""
        if self.regions is not None:
            check_features(rows, self.regions, name)

    def _images(
        self, rows: Sequence[Mapping[str, Any]], names: list[str]
    ) -> tuple[dict[str, Tensor], list[_Array | tuple[int, int]], bool]:
        """The columns of the images, the boxes or else the size of each, and whether rows hold pixels as the model reads."""
        if self.image_processor is None and not any("pixel_values" in row for row in rows):
            objects = [row_objects(row, self.regions, name) for row, name in zip(rows, names, strict=True)]
            return object_columns(objects), [boxes for _, boxes in objects], False
        read = [row_pixels(row, name, self.image_processor) for row, name in zip(rows, names, strict=True)]
        images = [image for image, _ in read]
        return {"pixel_values": self._pixels.of(images)}, [size for _, size in read], all_tensors(images)

    def _words(
        self,
        index: int,
        row: Mapping[str, Any],
        caption: str,
        tokens: CaptionTokens,
        place: _Array | tuple[int, int],
        name: str,
    ) -> list[_Word]:
        """The explained rows of a caption."""
        if self.explain == "caption":
            return [_Word(index, 0, 0, list(tokens.ids), None)]
        boxes = None if isinstance(place, tuple) else place
        try:
            found = word_importance(caption, row.get("segmentations"), boxes, self.words, self.score)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        wrong = [] if boxes is not None else [e.importance for e in found if e.importance is not None]
        if any(mask.shape != place for mask in wrong):
            raise ValueError(
                f"{name}: masks are {wrong[0].shape}, the image {place} (height, width); give masks in the image's size."
            )
        if not found:
            self._count("captions without visual word", name, caption)
        for category in named_categories(row.get("segmentations")):
            if category not in self._categories:
                self._count("masks of a category that no word names", f"{name}: {category!r}", caption)
        flag = row.get(ANNOTATED)
        used = flag is None or bool(flag)
        words: list[_Word] = []
        for each in found:
            said = f"{name}: {each.word.name!r}"
            places = tokens.places(each.word.start, each.word.end)
            if not places:
                self._count("visual words beyond max_length", said, caption)
            elif any(tokens.unknown[place] for place in places):
                self._count("visual words that the vocabulary lacks", said, caption)
            elif each.importance is None:
                self._count("visual words whose category has no mask", f"{said} ({each.word.category})", caption)
            else:
                ids, importance = [tokens.ids[place] for place in places], each.importance if used else None
                words.append(_Word(index, len(words), places[0], ids, importance))
        return words

    def _explained(
        self, words: list[_Word], rows: Sequence[Mapping[str, Any]], batch: Mapping[str, Tensor], ready: bool
    ) -> dict[str, Any]:
        """The columns of the explained rows."""
        if "pixel_values" in batch:
            size = batch["pixel_values"].shape[-2:]
            nothing = torch.zeros(1, 1, dtype=torch.uint8)
            masks = [nothing if w.importance is None else torch.from_numpy(w.importance * 255).byte() for w in words]
            importance = self._pixels.importance(masks, size, ready)
            sizes = [tuple(size)] * len(words)
        else:
            objects = batch["visual_attention_mask"].sum(1).tolist()
            sizes = [(objects[word.row],) for word in words]
            longest = batch["visual_attention_mask"].shape[1]
            scores = [
                np.zeros(size, np.float32) if word.importance is None else word.importance
                for word, size in zip(words, sizes, strict=True)
            ]
            importance = padded([*scores, np.zeros(longest, np.float32)])[:-1]
        drawn = [self._random(word, size, rows[word.row]) for word, size in zip(words, sizes, strict=True)]
        return {
            ROW: [word.row for word in words],
            SLOT: [word.slot for word in words],
            TIME: [word.time for word in words],
            TARGET: torch.tensor([word.tokens[0] for word in words], dtype=torch.long),
            WORD_TOKENS: _tokens(words),
            ANNOTATED: importance.flatten(1).any(1).tolist(),
            IMPORTANCE: importance,
            RANDOM_IMPORTANCE: padded([*drawn, np.zeros(importance.shape[1:], np.float32)])[:-1],
        }

    def _random(self, word: _Word, size: Sequence[int], row: Mapping[str, Any]) -> _Array:
        # A row without caption_id, such as one made by hand, is told by its caption.
        told = row["caption"] if row.get("caption_id") is None else id_text(row["caption_id"])
        generator = np.random.default_rng([self.seed, zlib.crc32(told.encode()), word.time])
        return generator.random(tuple(size), np.float32)

    def _count_tokens(self, captions: Sequence[str], encoded: Sequence[CaptionTokens], names: Sequence[str]) -> None:
        for caption, tokens, name in zip(captions, encoded, names, strict=True):
            if not tokens.ids:
                raise ValueError(f"{name}: {caption!r} holds no word. Leave the row out.")
            if tokens.cut:
                self._count("captions cut at max_length", name, caption)
            self._count("unknown words", name, caption, sum(tokens.unknown))

    def _count(self, reason: str, item: str, caption: str, number: int = 1) -> None:
        count_and_log(self.counts, reason, number, f"{item} in {caption!r}", "collator.counts")


def _tokens(words: Sequence[_Word]) -> Tensor:
    longest = max((len(word.tokens) for word in words), default=1)
    filled = [word.tokens + [-1] * (longest - len(word.tokens)) for word in words]
    return torch.tensor(filled, dtype=torch.long).reshape(len(words), longest)


def _caption(row: Mapping[str, Any], name: str) -> str:
    caption = row.get("caption")
    if not isinstance(caption, str) or not caption.strip():
        raise ValueError(
            f"{name}: the caption is {caption!r:.60}; allowed is text that is not empty. Leave the row out."
        )
    return caption
