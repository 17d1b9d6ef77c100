"""The human importance of the words of a caption: where the mask of what a word names lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hf_guidance.common.checks import check_choice
from hf_guidance.data.boxes import box_importance_from_map
from hf_guidance.data.captions.segmentations import Mask, category_masks
from hf_guidance.data.captions.visual_words import VisualWord, VisualWords, table_of

SCORES = ("contrast", "share")


@dataclass(frozen=True)
class WordImportance:
    """One visual word of a caption, and where it ought to be looked at.

    Attributes:
        word: The name, its category and its place in the caption.
        importance: (objects,) or (height, width) float32 in [0, 1]; None where the image has no mask of the category.
    """

    word: VisualWord
    importance: npt.NDArray[np.float32] | None


def word_importance(
    caption: str,
    segmentations: Any,
    boxes: Any = None,
    words: VisualWords | None = None,
    score: str = "contrast",
) -> list[WordImportance]:
    """Importance of regions, or of pixels, for each visual word of a caption (HINT, arXiv 1902.03751, section 4.1).

    The mask A of the word's category, of all its objects in the image, is what people would look at for the word. The
    importance of a region r is eq. 1 of the paper,

        s_r = E_in / (E_in + E_out),   E_in the mean of A inside r, E_out its mean outside,

    or with ``score="share"`` E_in alone, the share of the region that the mask covers. Without regions it is A itself.

    Args:
        caption: The text.
        segmentations: Masks of categories, as a row has them or as category -> mask (height, width); see `category_masks`.
        boxes: (objects, 4) xyxy in [0, 1]; None for pixels.
        words: Which words are visual; None for `VisualWords.coco`.
        score: "contrast" (eq. 1, the paper's) or "share".

    Returns:
        One entry per visual word in the order of the caption, the same word again where it is said again. ``importance`` is
        None where the image has no mask of the category, as for a dog on a picture in the image. Empty for a caption without
        visual word.

    Raises:
        ValueError: A caption that is empty or not text, masks, boxes or words of another form, or an unknown score.

    Example:
        >>> left = np.array([[1, 0]])
        >>> [found] = word_importance("a dog", {"dog": left}, [[0, 0, 0.5, 1], [0, 0, 1, 1]], score="share")
        >>> found.word.category, found.importance.tolist()
        ('dog', [1.0, 0.5])
    """
    check_choice("score", score, SCORES)
    if not isinstance(caption, str) or not caption.strip():
        raise ValueError(f"the caption is {caption!r:.60}; give text that is not empty, or leave it out.")
    found = table_of(words).find(caption)
    masks = category_masks([] if segmentations is None else segmentations, {word.category for word in found})
    scores = {name: _scores(mask, boxes, score) for name, mask in masks.items()}
    return [WordImportance(word, scores.get(word.category)) for word in found]


def _scores(mask: Mask, boxes: Any, score: str) -> npt.NDArray[np.float32]:
    if boxes is None:
        return mask.astype(np.float32)
    relative = torch.as_tensor(np.asarray(boxes))
    if score == "contrast":
        return box_importance_from_map(torch.from_numpy(mask), relative).numpy().astype(np.float32)
    return box_share_of_mask(mask, relative)


def box_share_of_mask(mask: Mask, boxes: torch.Tensor) -> npt.NDArray[np.float32]:
    """The share of each box that a mask covers, over the same pixels as `box_importance_from_map`; 0 for a box without pixel.

    Args:
        mask: (height, width) of booleans.
        boxes: (n, 4) xyxy in [0, 1].

    Returns:
        (n,) float32 in [0, 1].

    Raises:
        ValueError: As `box_importance_from_map`.
    """
    box_importance_from_map(torch.from_numpy(mask), boxes)  # for its checks
    height, width = mask.shape
    above = np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    size = boxes.new_tensor([width, height] * 2)
    left, top, right, bottom = (boxes * size).long().T.numpy()
    inside = above[bottom, right] - above[top, right] - above[bottom, left] + above[top, left]
    area = (right - left) * (bottom - top)
    return np.asarray(inside / np.maximum(area, 1), dtype=np.float32)
