"""Needs put in order: which layers each view is read at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hf_guidance.views.view import FULL, View

if TYPE_CHECKING:
    from hf_guidance.forward import Needs


def layers_by_view(needs: Needs) -> dict[View, list[str]]:
    """Views, FULL first, to the layers they are read at; what a keep reads of FULL is there, too.

    Data-parallel processes must draw and run views in one order: by their text, without the addresses of functions.
    """
    everything = needs.union(*(view.keep.needs() for view, _ in needs if view.keep is not None))
    layers: dict[View, list[str]] = {FULL: []}
    for view, layer in sorted(everything, key=lambda need: re.sub(r" at 0x[0-9a-f]+", "", repr(need))):
        layers.setdefault(view, []).extend([] if layer == "logits" else [layer])
    return layers
