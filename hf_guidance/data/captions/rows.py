"""The row format of captions, the checks that every row passes, and the base of their builders.

| column        | feature                      | meaning                                                            |
|---------------|------------------------------|--------------------------------------------------------------------|
| caption_id    | `Value("string")`            | unique within a split                                              |
| image_id      | `Value("string")`            | by which the features of boxes are looked up                       |
| caption       | `Value("string")`            | the caption that is trained on, not empty                          |
| captions      | `List(Value("string"))`      | all captions of the image, the references of CIDEr                 |
| segmentations | `List({...})`, optional      | `category`, `size`, `counts`: where each category is; see below    |
| image         | `Image()`, optional          |                                                                    |

An entry of ``segmentations`` is the mask of one object, or of all objects of a category, run-length encoded as COCO does:
``size`` is [height, width], ``counts`` pycocotools' text (see `hf_guidance.data.captions.segmentations`). `CaptionCollator`
reads these rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets

from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.questions.rows import row_id
from hf_guidance.data.record_builder import FolderConfig, Record, RecordBuilder

__all__ = ["CaptionBuilder", "CaptionConfig", "Record", "caption_features", "caption_row", "checked_caption"]

_OPTIONAL: dict[str, Any] = {
    "segmentations": datasets.List(
        {
            "category": datasets.Value("string"),
            "size": datasets.List(datasets.Value("int32"), length=2),
            "counts": datasets.Value("string"),
        }
    ),
    "image": datasets.Image(),
}


def caption_features(*optional: str) -> datasets.Features:
    """The `datasets.Features` of captions.

    Args:
        optional: Which of "segmentations" and "image" the rows carry.

    Raises:
        ValueError: An unknown column.

    Example:
        >>> list(caption_features("segmentations"))
        ['caption_id', 'image_id', 'caption', 'captions', 'segmentations']
    """
    unknown = sorted(set(optional) - set(_OPTIONAL))
    if unknown:
        raise ValueError(f"optional: got {unknown}; allowed: {list(_OPTIONAL)}.")
    text = datasets.Value("string")
    columns = {"caption_id": text, "image_id": text, "caption": text, "captions": datasets.List(text)}
    return datasets.Features({**columns, **{name: _OPTIONAL[name] for name in optional}})


def checked_caption(caption: Any, item: str) -> str:
    """A caption without the blanks around it and with single blanks and lines within.

    Args:
        caption: The raw text.
        item: Names the caption in errors.

    Raises:
        InvalidAnnotation: (a `ValueError`) It is not text, or empty.

    Example:
        >>> checked_caption(" A dog  runs. ", "caption 7")
        'A dog runs.'
    """
    if not isinstance(caption, str):
        raise InvalidAnnotation("caption is not text", item, f"its caption is {caption!r:.60}.")
    if not caption.strip():
        raise InvalidAnnotation("empty caption", item, "its caption is empty.")
    return " ".join(caption.split())


def caption_row(
    caption_id: Any, image_id: Any, caption: Any, captions: Sequence[Any], item: str, **columns: Any
) -> dict[str, Any]:
    """Make a row and check it.

    Args:
        caption_id: Text or a whole number, unique within the split.
        image_id: Text or a whole number.
        caption: The caption that is trained on.
        captions: All captions of the image.
        item: Names the caption in errors.
        columns: Further columns of the row.

    Raises:
        InvalidAnnotation: (a `ValueError`) for an id that is none, or a caption that is empty or not text.

    Example:
        >>> caption_row(7, 3, "A dog.", ["A dog.", "A hound."], "caption 7")["caption_id"]
        '7'
    """
    ids = {"caption_id": row_id(caption_id, "caption_id", item), "image_id": row_id(image_id, "image_id", item)}
    references = [checked_caption(one, item) for one in captions]
    return {**ids, "caption": checked_caption(caption, item), "captions": references, **columns}


@dataclass
class CaptionConfig(FolderConfig):
    """Options that every builder of captions has: `invalid`, as in `AnnotatedImageConfig`."""


class CaptionBuilder(RecordBuilder):
    """A builder of captions: subclasses give the records of each split and turn one record into a row; see `RecordBuilder`."""

    BUILDER_CONFIG_CLASS = CaptionConfig
    kind: ClassVar[str] = "caption"
