"""Shortcuts: what the structure of a model gives more cheaply than autograd does, with the same result."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hf_guidance.views import FULL, Path, View, zeros

if TYPE_CHECKING:
    from hf_guidance.families import Family
    from hf_guidance.forward import Needs


def takes_backward(family: Family, view: View, layer: str) -> bool:
    """Whether gradients at a layer need autograd: not for logits, nor at "final" of a (mean, Linear) head (CAM)."""
    cam = family.pooled_linear is not None and layer in ("final", family.layers.get("final"))
    return layer not in ("logits", "attention", "class_map") and not (view == FULL and cam)


def is_straight(view: View, family: Family) -> bool:
    """Whether the gradient is the same all along a path, and on the full input: the way from zero, in a net without biases.

    A positively homogeneous net has score(a f) = a score(f) for a > 0, so its gradient at a f is that at f (arXiv
    2111.07668, section 3). That asks that everything runs through f, as through the input and the symbolic layers: where f
    is one branch of a residual block, the other branch does not shrink with it.
    """
    midpoints = isinstance(view.keep, Path) and not view.keep.random
    whole = view.layer in ("input", *family.layers, *family.layers.values())
    return family.biases == () and whole and midpoints and view.replace == zeros


def by_row_count(row: Sequence[int], images: int) -> list[list[int]]:
    """The images in groups of equally many explained rows.

    Run group by group, an image takes part in as many backwards as it has rows; in one batch it takes part in as many as the
    image with the most.
    """
    counts, groups = Counter(row), defaultdict(list)
    for image in range(images):
        groups[counts[image]].append(image)
    return [groups[count] for count in sorted(groups)]


def reduced(needs: Needs, family: Family) -> Needs:
    """The needs without what a shortcut makes superfluous.

    Straight paths are not run, the full input's layer is read instead; a class map that the model does not have becomes
    its layer "final".
    """
    kept = set()
    for view, layer in needs:
        if is_straight(view, family):
            kept |= {(FULL, "logits"), (FULL, view.layer)}
        else:
            kept.add((view, "final" if layer == "class_map" and family.class_map is None else layer))
    return frozenset(kept)
