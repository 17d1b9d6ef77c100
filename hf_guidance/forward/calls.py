"""Model calls on the full input and on edited copies, with the needed layers recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hf_guidance.common.checkpointing import checkpointing_off
from hf_guidance.common.outputs import logits_of
from hf_guidance.common.wrappers import unwrapped
from hf_guidance.families import Family
from hf_guidance.families.family import FullCall, repeated
from hf_guidance.forward.batch_norm import statistics_kept
from hf_guidance.forward.groups import inverse_permutation
from hf_guidance.forward.input_dtype import inputs_cast
from hf_guidance.forward.recording import recording
from hf_guidance.forward.sizes import images_per_call
from hf_guidance.views.layers import is_attention, is_input, is_module


@dataclass(frozen=True)
class ViewCall:
    """Results of the model calls for one view.

    Attributes:
        logits: (copies, images, classes).
        layers: Layer -> its raw outputs, one tensor per model call, each (copies of that call * images, ...).
        fill: What the view replaced by, (images, channels, *space) or a scalar; None for the full input.
        keep: What stayed, as the view's keep returned it; None for the full input.
    """

    logits: Tensor
    layers: Mapping[str, list[Tensor]]
    fill: Tensor | None = None
    keep: Tensor | None = None

    def holds_vectors(self, layer: str) -> bool:
        """Whether a layer was recorded that puts out one vector per image, without places."""
        return is_module(layer) and any(raw.dim() == 2 for raw in self.layers.get(layer, ()))


@dataclass(frozen=True)
class Edit:
    """A view with its tensors, ready for a model call.

    Attributes:
        at: The layer that is edited; "input" for the features.
        original: (images, ...) raw activation at that layer.
        keep: (copies, images or 1, *space or ones) on the device of ``original``, bool or of its dtype.
        fill: Broadcasts against ``original``.
        space: (height, width) or (objects,) of the layer.
        family: The family with the layout of the layer.
    """

    at: str
    original: Tensor
    keep: Tensor
    fill: Tensor
    space: tuple[int, ...]
    family: Family

    def copies(self, keep: Tensor) -> Tensor:
        """Make the edited copies for some of the masks in ``keep``."""
        return self.family.blend(self.original, keep, self.fill, first=is_input(self.at))

    @property
    def hard(self) -> bool:
        """Whether places are selected instead of blended."""
        return self.keep.dtype == torch.bool


def call_full(
    model: nn.Module,
    family: Family,
    inputs: dict[str, Any],
    layers: Sequence[str],
    *,
    differentiate: bool,
    twice: bool,
    share: bool = False,
    groups: Sequence[Sequence[int]] | None = None,
) -> tuple[ViewCall, FullCall]:
    """Call the model on the unedited input, through its wrapper if it has one.

    Args:
        model: The model, possibly wrapped.
        family: The family of the model.
        inputs: The arguments of the model's forward.
        layers: Layers to record; "attention" for the model's attention over places.
        differentiate: Whether autograd will differentiate with respect to some layer.
        twice: Whether those gradients will be differentiated again.
        share: Whether calls for views follow, which re-use the family's shared modules.
        groups: Groups of images, one model call per group; no calls for views may follow. None for one call.
    """
    if groups is not None:
        return _call_groups(model, family, inputs, layers, differentiate, groups)
    module: nn.Module = unwrapped(model)
    paths = {layer: family.path(layer, module) for layer in layers if is_module(layer)}
    leaf = None
    if any(map(is_input, layers)):
        leaf = _leaf(inputs[family.features])
        inputs = inputs | {family.features: leaf}
    if any(map(is_attention, layers)):
        inputs = inputs | family.attention_inputs
    shared = family.shared if share else ()
    edits, images = dict.fromkeys([*paths.values(), *shared]), len(inputs[family.features])
    calling = recording(module, edits, layers, leaf, images=images, twice=differentiate and twice)
    with calling as recorded, inputs_cast(module):
        outputs = model(**inputs)
    raw = {layer: [recorded[path]] for layer, path in paths.items()}
    raw |= {layer: [inputs[family.features]] for layer in layers if is_input(layer)}
    raw |= {layer: [family.attention(outputs)] for layer in layers if is_attention(layer)}
    return ViewCall(logits_of(outputs, family.logits, family.times)[None], raw), FullCall(
        outputs, {path: recorded[path] for path in shared}
    )


def _call_groups(
    model: nn.Module,
    family: Family,
    inputs: dict[str, Any],
    layers: Sequence[str],
    differentiate: bool,
    groups: Sequence[Sequence[int]],
) -> tuple[ViewCall, FullCall]:
    # Logits come back in the order of the images, a layer as one tensor per group.
    found, images = [], len(inputs[family.features])
    for number, group in enumerate(groups):
        part = {
            name: value[group] if isinstance(value, Tensor) and len(value) == images else value
            for name, value in inputs.items()
        }
        # Only the first call goes through DistributedDataParallel: every rank must call it equally often, but groups differ.
        called = unwrapped(model) if number else model
        found.append(call_full(called, family, part, layers, differentiate=differentiate, twice=False))
    order = [image for group in groups for image in group]
    logits = torch.cat([call.logits for call, _ in found], dim=1)[:, inverse_permutation(order)]
    full = replace(found[0][1], parts=tuple(part.outputs for _, part in found))
    return ViewCall(logits, {layer: [call.layers[layer][0] for call, _ in found] for layer in layers}), full


def call_edits(
    module: nn.Module,
    family: Family,
    inputs: dict[str, Any],
    edits: Sequence[Edit],
    full: FullCall,
    layers: Sequence[str],
    *,
    max_rows: int | None,
    twice: bool,
) -> list[tuple[Tensor, dict[str, list[Tensor]]]]:
    """Call the model on edited copies, stacked in as few calls as ``max_rows`` allows.

    Args:
        module: The unwrapped model.
        family: The family of the model.
        inputs: The arguments of the model's forward on the unedited batch.
        edits: Views at one layer. Several only if ``layers`` is empty; several hard ones must have the same fill if the
            family calls the model without making copies.
        full: Results of the call on the unedited batch.
        layers: Layers to record; for the edited layer the copies themselves are recorded.
        max_rows: Images per model call; None for one call.
        twice: Whether gradients at those layers will be differentiated again.

    Returns:
        For each edit its logits (copies, images, classes), and layer -> raw outputs, one tensor per model call.
    """
    images = len(inputs[family.features])
    total = sum(len(edit.keep) for edit in edits)
    logits: list[Tensor] = []
    raw: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for parts in _cut(edits, total if max_rows is None else max(1, max_rows // images)):
        outputs = None
        if not layers and all(is_input(edit.at) and edit.hard for edit, _ in parts):
            with statistics_kept(module), inputs_cast(module):
                outputs = family.call_hard(module, inputs, _masks(parts), parts[0][0].fill, full)
        if outputs is None:
            copies = [edit.copies(keep) for edit, keep in parts]
            joined = torch.cat(copies) if len(copies) > 1 else copies[0]
            outputs, found = _call_copies(module, family, inputs, edits[0].at, joined, full, layers, twice=twice)
            for layer, tensor in found.items():
                raw[layer].append(tensor)
        logits.append(logits_of(outputs, family.logits, family.times).unflatten(0, (-1, images)))
    by_edit = torch.cat(logits).split([len(edit.keep) for edit in edits])
    return [(part, raw) for part in by_edit]


def each_call(
    module: nn.Module,
    family: Family,
    inputs: dict[str, Any],
    edit: Edit,
    full: FullCall,
    layers: Sequence[str],
    *,
    max_rows: int | None,
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """The calls on the copies of one view one after the other, each made when it is asked for, so that its graph can be freed.

    Args:
        module: As for ``call_edits``, and so the others.
        family: See there.
        inputs: See there.
        edit: The view.
        full: See there.
        layers: At least one.
        max_rows: Images per call; None chooses by their size.

    Yields:
        Logits (copies of the call, images, classes), and layer -> raw output (copies of the call * images, ...).
    """
    images = len(inputs[family.features])
    size = max(1, (max_rows or images_per_call(inputs[family.features])) // images)
    for keep in edit.keep.split(size):
        with torch.enable_grad():
            outputs, raw = _call_copies(module, family, inputs, edit.at, edit.copies(keep), full, layers, twice=False)
            logits = logits_of(outputs, family.logits, family.times).unflatten(0, (-1, images))
        yield logits, raw


def _cut(edits: Sequence[Edit], size: int) -> list[list[tuple[Edit, Tensor]]]:
    # All copies of all edits, one after the other, cut into calls of at most ``size`` copies.
    calls: list[list[tuple[Edit, Tensor]]] = []
    room = 0
    for edit in edits:
        start = 0
        while start < len(edit.keep):
            if not room:
                calls.append([])
                room = size
            part = edit.keep[start : start + room]
            calls[-1].append((edit, part))
            start += len(part)
            room -= len(part)
    return calls


def _masks(parts: Sequence[tuple[Edit, Tensor]]) -> Tensor:
    # All masks at full size, concatenated: (copies, images, *space).
    return torch.cat([keep.expand(len(keep), len(edit.original), *edit.space) for edit, keep in parts])


def _call_copies(
    module: nn.Module,
    family: Family,
    inputs: dict[str, Any],
    at: str,
    copies: Tensor,
    full: FullCall,
    layers: Sequence[str],
    *,
    twice: bool,
) -> tuple[Any, dict[str, Tensor]]:
    # One model call: its outputs, and layer -> raw output (copies * images, ...).
    leaf = None
    if layers and not copies.requires_grad:
        copies = leaf = _leaf(copies)
    edits: dict[str, Any] = {family.path(layer, module): None for layer in layers if is_module(layer) and layer != at}
    if not is_input(at):
        edits[family.path(at, module)] = lambda output: copies
    # A checkpointed block is computed again in the backward, where the edit is gone: its gradients would be wrong.
    whole = nullcontext() if is_input(at) else checkpointing_off(module)
    calling = recording(module, edits, layers, leaf, images=len(copies), twice=bool(layers) and twice)
    with calling as recorded, statistics_kept(module), whole, inputs_cast(module):
        if is_input(at) and not edits:
            outputs = family.call(module, inputs, copies, full)
        else:
            # With re-used encodings the modules to be edited or recorded might not be called.
            count = len(copies) // len(inputs[family.features])
            outputs = module(**repeated(inputs, count) | ({family.features: copies} if is_input(at) else {}))
    raw = {layer: copies if layer == at else recorded[family.path(layer, module)] for layer in layers}
    return outputs, raw


def _leaf(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        raise ValueError(
            f"features of dtype {tensor.dtype} have no gradient; give floating point, for example float32."
        )
    return tensor.detach().requires_grad_(torch.is_grad_enabled())
