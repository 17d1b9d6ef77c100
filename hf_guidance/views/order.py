"""Needs by view: which layers are read of each view."""

from __future__ import annotations

from hf_guidance.views.layers import is_recorded
from hf_guidance.views.view import FULL, Needs, View


def layers_by_view(needs: Needs) -> dict[View, list[str]]:
    """Map each view to the layers that are read of it, FULL first, the others in the order of declaration.

    What the keep of a view reads of the full input is included. Logits are left out, as no call must record them.
    """
    layers: dict[View, list[str]] = {FULL: []}
    keeps = Needs(need for view, _ in needs if view.keep is not None for need in view.keep.needs())
    for view, layer in needs | keeps:
        layers.setdefault(view, []).extend([layer] if is_recorded(layer) else [])
    return layers
