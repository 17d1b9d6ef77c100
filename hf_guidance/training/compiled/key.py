"""The key of a compiled step: all that Python decides by in a step, which is fixed in its graph."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from hf_guidance.guidance import Guidance
from hf_guidance.training.compiled.held import Held, form
from hf_guidance.training.compiled.parts import StepParts

_SCALARS = (bool, int, float, str, type(None), torch.dtype, torch.device)


def step_key(module: nn.Module, guidance: Guidance, parts: StepParts) -> Hashable:
    """Equal for two steps only if one graph does both.

    It holds the form of every tensor (shape, strides, dtype, device, whether it requires a gradient), the batch's lists and
    numbers, the guidance, the modes of torch, and of the model the classes of its modules, the plain data that they and their
    configs hold (see ``Held``), such as ``training``, a dropout's ``p`` or the scaling of an adapter, and their hooks. It does
    not hold what Python code reads elsewhere, as of a global variable.

    Args:
        module: The unwrapped model.
        guidance: The terms of this step.
        parts: Its batches.

    Raises:
        ValueError: A term holds something that has no hash, as a list or an array.
    """
    terms = tuple(guidance.items())
    try:
        hash(terms)
    except TypeError as error:
        raise ValueError(
            f"torch_compile=True: a term of {guidance} holds something that has no hash ({error}), so that nobody can tell "
            "whether it changed since the step was compiled: give tuples and numbers, or leave torch_compile off."
        ) from error
    given = [None if part is None else _of(part) for part in (parts.annotated, parts.rest)]
    return (type(guidance), terms), tuple(given), tuple(_of_model(module)), _modes(module)


def differing(one: Hashable, two: Hashable) -> str:
    """What tells two keys apart, in words."""
    first, second = cast(tuple[Any, ...], one), cast(tuple[Any, ...], two)
    columns: set[str] = set()
    for before, after in zip(first[1], second[1], strict=True):
        before, after = dict(before or ()), dict(after or ())
        columns |= {name for name in before | after if before.get(name) != after.get(name)}
    said = {
        "the terms": first[0] != second[0],
        _differing_part(first[2], second[2]): first[2] != second[2],
        "the modes of torch": first[3] != second[3],
    }
    named = (
        [f"column{'s' * (len(columns) > 1)} {', '.join(map(repr, sorted(columns)))} of the batch"] if columns else []
    )
    return " and ".join([*named, *(name for name, differs in said.items() if differs)]) or "nothing"


def _differing_part(one: Sequence[Any], two: Sequence[Any]) -> str:
    for before, after in zip(one, two, strict=False):
        if before != after and before[0] == after[0] and isinstance(before[0], type):
            names = [name for (name, held), (_, other) in zip(before[1], after[1], strict=False) if held != other]
            return (
                f"{names[0]!r} of a {before[0].__name__} of the model" if names else f"hooks of a {before[0].__name__}"
            )
    return "the model"


def _of(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return form(value)
    if isinstance(value, Mapping):
        return tuple((name, _of(inner)) for name, inner in value.items())
    if isinstance(value, list | tuple):
        return type(value), tuple(_of(inner) for inner in value)
    if isinstance(value, np.ndarray | np.generic):
        return value.shape, str(value.dtype), value.tobytes()
    # Anything else equals itself alone.
    return (type(value), value) if type(value) in _SCALARS else object()


def _of_model(module: nn.Module) -> Iterator[Hashable]:
    held = Held()
    yield from (held.of_module(part) for part in module.modules())
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        yield name, form(tensor)


def _modes(module: nn.Module) -> Hashable:
    device = next((p.device.type for p in module.parameters()), "cpu")
    cast = (torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
    exact = (torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision())
    return cast, exact, torch.get_default_dtype()
