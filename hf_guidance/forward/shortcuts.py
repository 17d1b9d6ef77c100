"""Shortcuts: results that the structure of a model gives more cheaply than autograd, but equally."""

from __future__ import annotations

from hf_guidance.families import Family
from hf_guidance.views import FULL, Needs, Path, View, zeros
from hf_guidance.views.layers import FINAL, LOGITS, is_a_whole_cut, is_class_map, is_differentiated


def takes_backward(family: Family, view: View, layer: str) -> bool:
    """Whether gradients at a layer need autograd: not at the logits, nor at "final" below a (mean, Linear) head (CAM)."""
    return is_differentiated(layer) and not (view == FULL and family.head_at(layer) is not None)


def is_straight(view: View, family: Family) -> bool:
    """Whether a view is the path from zero in a net without biases, so that its gradients equal the one on the full input.

    A positively homogeneous net has score(a f) = a score(f) for a > 0, so its gradient at a f is that at f (arXiv
    2111.07668, section 3). This requires that f carries everything on the way to the logits, as the input and the symbolic
    layers do: if f is one branch of a residual block, the other branch does not shrink with it.
    """
    midpoints = isinstance(view.keep, Path) and not view.keep.random
    straight = family.biases == () and midpoints and view.replace == zeros
    return straight and is_a_whole_cut(view.layer, family.layers)


def reduced(needs: Needs, family: Family) -> Needs:
    """Remove from the needs what a shortcut makes superfluous.

    The model is not called for straight paths, the layer of the full input is read instead. A class map that the model does
    not have becomes its layer "final".
    """
    kept: list[tuple[View, str]] = []
    for view, layer in needs:
        if is_straight(view, family):
            kept += [(FULL, LOGITS), (FULL, view.layer)]
        else:
            kept.append((view, FINAL if is_class_map(layer) and family.class_map is None else layer))
    return Needs(kept)
