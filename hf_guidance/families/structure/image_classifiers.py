"""Image classifiers of any other architecture: their layers are found, not listed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from hf_guidance.families.family import Family
from hf_guidance.families.found_head import FoundHead
from hf_guidance.families.structure.places import places_of
from hf_guidance.families.structure.signature import columns_of

_LOGITS = {"pp_lcnet": "last_hidden_state"}  # types whose outputs call the logits by another name


def structured(model: nn.Module, proposed: Sequence[str] = ()) -> Family:
    """A family whose layers and head are found when one is asked for; the input needs none.

    Args:
        model: The model; its forward takes ``pixel_values``.
        proposed: Module paths of stages, taken as layers if they have places; "final" may be one behind them (``discover``).
    """
    model_type = getattr(getattr(model, "config", None), "model_type", "")
    layers = places_of(model, proposed).layers()
    return Family(
        layers=layers,
        layouts={},
        inputs=columns_of(model),
        logits=_LOGITS.get(model_type, "logits"),
        pooled_linear=FoundHead(layers),
    )
