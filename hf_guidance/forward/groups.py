"""Groups of images, one model call per group, and the way back to the order of the batch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence


def by_row_count(row: Sequence[int], images: int) -> list[list[int]]:
    """Group the images by their number of explained rows.

    With one model call per group, an image takes part in as many backwards as it has explained rows; with one call for all, in
    as many as the image with the most explained rows.

    Args:
        row: Image of each explained row.
        images: Number of images.
    """
    counts, groups = Counter(row), defaultdict(list)
    for image in range(images):
        groups[counts[image]].append(image)
    return [groups[count] for count in sorted(groups)]


def inverse_permutation(order: Sequence[int]) -> list[int]:
    """The position of each number in ``order``: if ``taken = values[order]``, then ``taken[inverse]`` is ``values``.

    Args:
        order: The numbers 0 to n - 1, each once.

    Example:
        >>> inverse_permutation([2, 0, 1])
        [1, 2, 0]
    """
    return sorted(range(len(order)), key=order.__getitem__)
