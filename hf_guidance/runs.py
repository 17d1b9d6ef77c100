"""Running the model on the full input and on edited copies, with the wanted layers recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hf_guidance.capture import captured
from hf_guidance.second_order import fast_double_backward

if TYPE_CHECKING:
    from hf_guidance.families import Family


@dataclass(frozen=True)
class Run:
    """What one view left behind.

    Attributes:
        logits: (copies, images, classes).
        layers: Layer to its raw outputs, one tensor a model call, each (copies of that call * images, ...).
        fill: What the view replaced by; None for the full input.
    """

    logits: Tensor
    layers: Mapping[str, list[Tensor]]
    fill: Tensor | None = None


def run_full(
    model: nn.Module, family: Family, inputs: dict[str, Any], layers: Sequence[str], *, differentiate: bool, twice: bool
) -> Run:
    """Run the unedited input once, through the wrapper if there is one.

    Args:
        model: The model, possibly wrapped.
        family: What is known of its architecture.
        inputs: The arguments of its forward.
        layers: Layers to record.
        differentiate: Whether some layer will be differentiated by autograd.
        twice: Whether those gradients will be differentiated again.
    """
    module: nn.Module = getattr(model, "module", model)
    paths = {layer: family.path(layer, module) for layer in layers if layer != "input"}
    if "input" in layers:
        inputs = inputs | {family.features: _leaf(inputs[family.features])}
    leaf = inputs[family.features] if "input" in layers else None
    quick = fast_double_backward(leaf) if differentiate and twice else nullcontext()
    with captured(module, dict.fromkeys(paths.values())) as recorded, quick:
        outputs = model(**inputs)
    raw = {layer: [recorded[path]] for layer, path in paths.items()}
    if "input" in layers:
        raw["input"] = [inputs[family.features]]
    return Run(_logits(outputs, family)[None], raw)


def run_copies(
    module: nn.Module,
    family: Family,
    inputs: dict[str, Any],
    at: str,
    copies: Tensor,
    layers: Sequence[str],
    *,
    twice: bool,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run edited copies of a batch in one model call.

    Args:
        module: The unwrapped model.
        family: What is known of its architecture.
        inputs: The arguments of its forward on the unedited batch.
        at: Layer whose activation the copies replace; "input" for the features.
        copies: (copies * images, ...) edited activations, copy by copy.
        layers: Layers to record; the layer ``at`` records the copies themselves.
        twice: Whether gradients at those layers will be differentiated again.

    Returns:
        Logits (copies * images, classes), and layer to raw output.
    """
    images = len(inputs[family.features])
    count = len(copies) // images
    inputs = {name: _repeat(value, count) for name, value in inputs.items()}
    leaf = None
    if layers and not copies.requires_grad:
        copies = leaf = _leaf(copies)
    edits: dict[str, Any] = {family.path(layer, module): None for layer in layers if layer not in ("input", at)}
    if at == "input":
        inputs[family.features] = copies
    else:
        edits[family.path(at, module)] = lambda output: copies
    quick = fast_double_backward(leaf) if layers and twice else nullcontext()
    with captured(module, edits) as recorded, quick, _statistics_kept(module), _checkpointing_off(module, at):
        outputs = module(**inputs)
    raw = {layer: copies if layer == at else recorded[family.path(layer, module)] for layer in layers}
    return _logits(outputs, family), raw


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    # Copies are no images: they are normalised by their own statistics, but running statistics do not learn from them.
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@contextmanager
def _checkpointing_off(module: nn.Module, at: str) -> Iterator[None]:
    # A checkpointed block is run again during the backward, when the edit of the layer is gone: wrong gradients.
    switches = [
        (m, name)
        for m in (module.modules() if at != "input" else ())
        for name in ("gradient_checkpointing", "grad_checkpointing")  # of transformers, of timm
        if getattr(m, name, False) is True
    ]
    for switched, name in switches:
        setattr(switched, name, False)
    try:
        yield
    finally:
        for switched, name in switches:
            setattr(switched, name, True)


def _leaf(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        raise ValueError(
            f"features of dtype {tensor.dtype} have no gradient; give floating point, for example float32."
        )
    return tensor.detach().requires_grad_(torch.is_grad_enabled())


def _repeat(value: Any, count: int) -> Any:
    return value.repeat(count, *[1] * (value.dim() - 1)) if isinstance(value, Tensor) else value


def _logits(outputs: Any, family: Family) -> Tensor:
    try:
        logits: Tensor = outputs[family.logits]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"the model put out {type(outputs).__name__} without {family.logits!r}; name the field that holds the "
            "logits in Family(logits=...)."
        ) from error
    return logits
