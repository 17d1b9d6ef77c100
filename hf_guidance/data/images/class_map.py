"""Class maps: predictions of many classes as those of a data set with fewer, such as ImageNet's 1,000 as ImageNet-9's nine."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hf_guidance.common.text_files import read_json

__all__ = ["NO_CLASS", "mapped_classes", "read_class_map"]

NO_CLASS = -1
"""The value of a class that the data set has not: predicting it is always wrong."""


def read_class_map(path: str | os.PathLike[str]) -> list[int]:
    """Read a class map, as ``in_to_in9.json`` of the backgrounds challenge.

    Args:
        path: A JSON object with the number of every class of the model as text, "0" and up without a gap, and the class of the
            data set that it belongs to, or -1 for none.

    Returns:
        The class of the data set, or -1, for each class of the model.

    Raises:
        ValueError: The file is not well-formed, a class is missing or there twice, or a value is no whole number from -1 on.

    Example:
        >>> to_imagenet9 = read_class_map("in_to_in9.json")  # doctest: +SKIP
        >>> len(to_imagenet9), to_imagenet9.count(-1)  # doctest: +SKIP
        (1000, 630)
    """
    content = read_json(path, unique_keys=True)
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: it holds {content!r:.80}; allowed: an object such as {{'0': -1, '1': 8}}.")
    missing = [str(number) for number in range(len(content)) if str(number) not in content]
    if missing:
        raise ValueError(
            f"{path}: it has {len(content)} keys, but class {missing[0]!r} is not among them; allowed: every number from 0 to "
            f"{len(content) - 1} as text, once."
        )
    bad = {key: value for key, value in content.items() if type(value) is not int or value < NO_CLASS}
    if bad:
        key, value = next(iter(bad.items()))
        raise ValueError(
            f"{path}: class {key!r} is mapped to {value!r}; allowed: a whole number, 0 or more, or {NO_CLASS} for none."
        )
    return [content[str(number)] for number in range(len(content))]


def mapped_classes(predictions: npt.ArrayLike, class_map: Sequence[int]) -> npt.NDArray[np.int64]:
    """Predictions of a model as classes of the data set: ``class_map[prediction]``.

    Args:
        predictions: Whole numbers of any shape, the argmax of the logits, from 0 to ``len(class_map) - 1``.
        class_map: As `read_class_map` returns it.

    Returns:
        int64 of the same shape; -1 where the predicted class is none of the data set's, which no label equals.

    Raises:
        ValueError: A prediction is no whole number, or is not in the map.

    Example:
        >>> mapped_classes([2, 0], [-1, 8, 3]).tolist()
        [3, -1]
    """
    given = np.asarray(predictions)
    if given.size and given.dtype.kind not in "iu":
        raise ValueError(f"predictions are {given.dtype}; allowed: whole numbers. Take the argmax of the logits.")
    if given.size and not 0 <= given.min() <= given.max() < len(class_map):
        raise ValueError(
            f"predictions reach from {given.min()} to {given.max()}; allowed: 0 to {len(class_map) - 1}, the classes in the "
            "map. Give the map of this model's classes."
        )
    return np.asarray(class_map, dtype=np.int64)[given.astype(np.int64)]
