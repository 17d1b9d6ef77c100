"""What maps are made of, as JSON: two extractions may share a folder only if all of it is the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from hf_guidance.attributions import Attribution
from hf_guidance.common.weights_digest import weights_digest
from hf_guidance.data.images.row_fingerprint import joined_fingerprint
from hf_guidance.families import Family
from hf_guidance.guidance.serialization import to_plain
from hf_guidance.views.layers import is_input

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_SHOWN = 200  # characters of a differing part in an error


def made_of(
    model: nn.Module, family: Family, method: Attribution, collator: Any, fingerprints: Sequence[str]
) -> dict[str, Any]:
    """All that decides the numbers of the maps, as JSON can hold it.

    Args:
        model: The unwrapped model.
        family: Of the model, with the arguments of its calls.
        method: The attribution.
        collator: Makes the model's inputs; what it has as ``image_processor`` is named.
        fingerprints: Of the rows, in order.
    """
    layer = method.layer if is_input(method.layer) else family.path(method.layer, model)
    processor = getattr(collator, "image_processor", None)
    return {
        "model": {"class": type(model).__name__, "weights": weights_digest(model)},
        "attribution": to_plain(method, "attribution"),
        "layer": layer,
        "arguments": _described(dict(family.arguments)),
        "collator": type(collator).__name__,
        "processor": _described(processor),
        "rows": {"count": len(fingerprints), "fingerprint": joined_fingerprint(fingerprints)},
    }


def refuse_other(there: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    """Raise where a folder holds maps of something else.

    Args:
        there: What the maps of the folder are made of.
        wanted: What is asked for.
        folder: Named in the error.

    Raises:
        ValueError: They differ; the message names in what.
    """
    differing = [name for name in wanted if there.get(name) != wanted[name]]
    if differing:
        shown = "; ".join(
            f"{name}: {json.dumps(there.get(name))[:_SHOWN]} there, {json.dumps(wanted[name])[:_SHOWN]} given"
            for name in differing
        )
        raise ValueError(
            f"{folder} holds maps that are made of something else ({shown}). Maps are never mixed: give another folder, or "
            "overwrite=True to delete those that are there."
        )


def _described(value: Any) -> Any:
    """A value as JSON holds it: by its ``to_dict()``, or as it prints, without addresses in memory."""
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict):
        value = to_dict()
    return json.loads(json.dumps(value, default=lambda other: _ADDRESS.sub("", repr(other)), sort_keys=True))
