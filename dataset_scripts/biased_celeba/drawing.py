"""Which rows of CelebA are drawn: so many of every group, by a seed."""

from collections.abc import Sequence

import numpy as np

GROUPS = tuple(f"{label}_with_{hair}_hair" for label in ("not_smiling", "smiling") for hair in ("blond", "black"))
ALIGNED = (0, 3)  # blond and not smiling, black and smiling: what most training rows are


def draw(groups: Sequence[int], parts: Sequence[Sequence[tuple[str, int]]], key: Sequence[int]) -> list[list[int]]:
    """Rows of every part, sorted; none is in two parts. More rows of a group contain those of fewer with the same key.

    Args:
        groups: The group of each row.
        parts: For each part and group how many rows it has, after the option that says so, which the error names.
        key: Seeds the generator; each group has its own, so that the size of one changes nothing in another.

    Raises:
        ValueError: A group has fewer rows than are asked.
    """
    of_group = np.asarray(groups, dtype=int)
    drawn: list[list[int]] = [[] for _ in parts]
    for group, name in enumerate(GROUPS):
        rows = np.flatnonzero(of_group == group)
        order, start = np.random.default_rng([*key, group]).permutation(rows), 0
        for chosen, sizes in zip(drawn, parts, strict=True):
            option, size = sizes[group]
            if start + size > len(rows):
                taken = f", of which {start} are taken" if start else ""
                raise ValueError(
                    f"{option}: {size} rows of {name} are asked, and the files have {len(rows)}{taken}; lower it, or give the "
                    "whole list of CelebA."
                )
            chosen.extend(order[start : start + size].tolist())
            start += size
    return [sorted(chosen) for chosen in drawn]
