"""What modules and models put out: which tensor is the activation, and which holds the logits."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def tensors_of(output: Any) -> list[Tensor]:
    """The floating-point tensors with axes in an output, in order, those inside lists, tuples and mappings included."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() and output.dim() else []
    if isinstance(output, Mapping):
        output = list(output.values())
    return [tensor for item in output for tensor in tensors_of(item)] if isinstance(output, list | tuple) else []


def activation_of(output: Any) -> Tensor:
    """The activation in the output of a module: its first floating-point tensor that is no scalar.

    Raises:
        ValueError: There is none.
    """
    found = next(iter(tensors_of(output)), None)
    if found is None:
        raise ValueError(
            f"the output of a module, {type(output).__name__}, holds no floating-point tensor; choose another layer."
        )
    return found


def with_activation(output: Any, old: Tensor, new: Tensor) -> Any:
    """The same output, of the same types, with another tensor in place of ``old``."""
    if output is old:
        return new
    if isinstance(output, Mapping):
        changed = copy.copy(output)
        for name, value in output.items():
            changed[name] = with_activation(value, old, new)  # type: ignore[index]  # outputs of models are mutable
        return changed
    if not isinstance(output, list | tuple):
        return output
    items = [with_activation(item, old, new) for item in output]
    return output._make(items) if hasattr(output, "_make") else type(output)(items)


def logits_of(outputs: Any, name: str | int = "logits", times: bool = False) -> Tensor:
    """The logits in the outputs of a model.

    Args:
        outputs: What the model returned. A tensor alone is the logits.
        name: The key, attribute or position that holds them.
        times: Whether there are logits for each time of a sequence.

    Returns:
        (images, classes), or (images, times, classes).

    Raises:
        ValueError: There are none of that name, or they have other axes.
    """
    found = outputs if isinstance(outputs, Tensor) else entry_of(outputs, name)
    if not isinstance(found, Tensor):
        fields = (
            list(outputs) if isinstance(outputs, Mapping) else list(range(len(outputs))) if _listed(outputs) else []
        )
        raise ValueError(
            f"the model put out {type(outputs).__name__} without {name!r}"
            + (f" (it has {fields})" if fields else "")
            + "; name the field, or the position, that holds the logits in Family(logits=...)."
        )
    if found.dim() != 2 + times:
        expected = "(images, times, classes)" if times else "(images, classes)"
        raise ValueError(
            f"the logits have shape {tuple(found.shape)}, but must be {expected}; name the field that holds them in "
            f"Family(logits=...), and say by Family(times={not times}) if there {'are no' if times else 'are'} logits for each "
            "time of a sequence."
        )
    return found


def entry_of(outputs: Any, name: str | int) -> Any:
    """The field, or the position, of that name in the outputs of a model; None if there is none."""
    if isinstance(name, str) and not isinstance(outputs, Mapping):
        return getattr(outputs, name, None)
    try:
        return outputs[name]
    except (KeyError, TypeError, IndexError):
        return None


def _listed(outputs: Any) -> bool:
    return isinstance(outputs, list | tuple)
