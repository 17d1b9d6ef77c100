"""Needs by view: which layers each view is read at."""

from __future__ import annotations

from hf_guidance.views.layers import is_recorded
from hf_guidance.views.view import FULL, Needs, View


def layers_by_view(needs: Needs) -> dict[View, list[str]]:
    """Views, FULL first and the others as declared, to the layers they are read at; what a keep reads of FULL is there, too."""
    layers: dict[View, list[str]] = {FULL: []}
    keeps = Needs(need for view, _ in needs if view.keep is not None for need in view.keep.needs())
    for view, layer in needs | keeps:
        layers.setdefault(view, []).extend([layer] if is_recorded(layer) else [])
    return layers
