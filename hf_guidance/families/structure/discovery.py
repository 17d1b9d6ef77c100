"""Finds the layers of a net of unknown architecture: those with places from which the logits are made."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hf_guidance.common.progress import progress
from hf_guidance.families.stages import spread
from hf_guidance.families.structure.lineage import Lineage
from hf_guidance.families.structure.location import (
    Place,
    check_ends,
    corner_cells,
    corners,
    place_of,
    quarters,
    readings,
    silent_corners,
)
from hf_guidance.families.structure.pooled_head import linear_on_mean
from hf_guidance.families.structure.probe import Probe, Recorded
from hf_guidance.views.layers import FINAL

_CANCELS = 1e-4
_NUMBERED = re.compile(r"\.\d+$")  # an entry of a list of modules: a block or a stage
Found = dict[str, Place]


def located(probe: Probe, paths: Sequence[str]) -> tuple[Found, dict[str, str]]:
    """Find the layouts of modules.

    Args:
        probe: Of the model.
        paths: Module paths.

    Returns:
        Path -> place of those whose layout was found, and path -> reason of the others.
    """
    found, reasons = _by_quarters(probe, paths)
    wrong = _by_corners(probe, found)
    return {path: place for path, place in found.items() if path not in wrong}, reasons | wrong


def _by_quarters(probe: Probe, paths: Sequence[str]) -> tuple[Found, dict[str, str]]:
    found: Found = {}
    reasons = dict.fromkeys(paths, "it does not run in the forward pass, or puts out no floating-point tensor")

    def use(path: str, activation: Tensor) -> None:
        try:
            found[path] = place_of(activation, probe.size, probe.patches)
            reasons.pop(path, None)
        except ValueError as error:
            reasons[path] = str(error)

    probe.each_output(paths, quarters(probe.base, probe.other), use)
    return found, reasons


def _by_corners(probe: Probe, found: Found) -> dict[str, str]:
    reasons: dict[str, str] = {}

    silent: dict[str, list[str]] = {}

    def use(path: str, activation: Tensor) -> None:
        silent[path] = silent_corners(activation, found[path])
        try:
            if found[path].tokens:
                check_ends(activation, found[path])
        except ValueError as error:
            reasons[path] = str(error)

    cells: dict[object, list[str]] = {}  # layers whose places have the same part of the image are asked in one call
    for path, place in found.items():
        if min(place.grid) > 1:
            cells.setdefault((place.grid, place.layout.patch, place.tokens), []).append(path)
    for paths in progress(cells.values(), "finding layers"):
        probe.each_output(paths, corner_cells(probe.base, probe.other, found[paths[0]]), use)
    for path, names in progress(silent.items(), "finding layers"):
        parts = corners(found[path], probe.size)
        # Far from the input a change fades to what rounding does; only without a way to the activation is the gradient 0.
        unseen = next((name for name in names if not probe.reaches(path, parts[name])), None)
        if unseen is not None:
            reasons[path] = (
                f"the {unseen} corner of the image changes nothing in it: the net sees an inner part of the image (does it "
                "crop?), so that its places do not lie where a map of the whole image has them"
            )
    return reasons


def discover(probe: Probe, proposed: Sequence[str] = ()) -> tuple[dict[str, str], Found]:
    """Find "final", the last layer with places, and "mid1" to "mid3" before it.

    A layer qualifies if its module runs once, puts out one tensor that carries the gradient of the logits to places, and
    input times gradient does not cancel there (as it does before a LayerNorm, which is invariant to scale); its layout must
    be found, too. "final" is the last of these. The others are the last of each size of map, if there are at least three
    sizes, and else the last of each block.

    Args:
        probe: Of the model.
        proposed: Paths of stages in order, which are taken instead if they all qualify. The layer just before the pool is
            "final" also then, if the head is a Linear layer on the mean: nets of convolutions often have one more behind
            the last stage.

    Returns:
        Symbolic layer -> path, and path -> place of these layers.

    Raises:
        ValueError: The model cannot be called, or no layer qualifies.
    """
    logits, recorded = probe.graph()
    candidates = qualified(logits, recorded, probe)
    lineage = Lineage(logits, [c.tensor for c in candidates])
    if layers := _accepted(probe, proposed, recorded, candidates, lineage):
        pooled = _pooled(layers[FINAL], recorded, candidates, lineage)
        found, reasons = located(probe, [*layers.values(), *pooled])
        if not reasons.keys() & layers.values():
            for path in pooled:
                if path in found and linear_on_mean(probe, path, found[path].layout)[0] is not None:
                    layers[FINAL] = path
            return layers, {path: found[path] for path in layers.values()}
    found, reasons = _by_quarters(probe, [c.path for c in candidates])
    final = _last(probe, candidates, lineage, found, reasons)
    earlier = candidates[: [c.path for c in candidates].index(final)]
    ends = _ends([c for c in earlier if c.path in found], final, {path: place.grid for path, place in found.items()})
    wrong = _by_corners(probe, {path: found[path] for path in ends})
    layers = spread([*(path for path in ends if path not in wrong), final])
    return layers, {path: found[path] for path in layers.values()}


def _accepted(
    probe: Probe,
    proposed: Sequence[str],
    recorded: Sequence[Recorded],
    candidates: Sequence[Recorded],
    lineage: Lineage,
) -> dict[str, str]:
    """Layers of the proposed stages, if all of them qualify; else none."""
    layers = spread(proposed) if proposed else {}
    tensors = {r.path: r.tensor for r in recorded}
    numbers = [
        next((i for i, c in enumerate(candidates) if c.tensor is tensors.get(path)), None) for path in layers.values()
    ]
    whole = bool(numbers) and numbers[-1] is not None and lineage.beside(numbers[-1]) is None
    return layers if whole and None not in numbers else {}


def _pooled(final: str, recorded: Sequence[Recorded], candidates: Sequence[Recorded], lineage: Lineage) -> list[str]:
    """The last candidate, if it lies behind the last stage and all that reaches the logits passes through it; else none."""
    last = len(candidates) - 1
    own = next(r.tensor for r in recorded if r.path == final)
    return [] if candidates[last].tensor is own or lineage.beside(last) is not None else [candidates[last].path]


def _last(
    probe: Probe, candidates: Sequence[Recorded], lineage: Lineage, found: Found, reasons: Mapping[str, str]
) -> str:
    """The last candidate whose layout is found and with which every other is in line."""
    why: list[str] = []
    for number in progress(range(len(candidates))[::-1], "finding the last layer"):
        path, other = candidates[number].path, lineage.beside(number)
        if other is not None:
            why.append(
                f"{path!r}: the logits come from {candidates[other].path!r}, too, and neither is made from the other, so "
                "that a map of one of them leaves out what the other sees"
            )
        elif path not in found:
            why.append(f"{path!r}: {reasons[path]}")
        elif wrong := _by_corners(probe, {path: found[path]}):
            why.append(f"{path!r}: {wrong[path]}")
        else:
            return path
    raise ValueError(
        "no module has places through which all of the image reaches the logits"
        + "".join(f"; {reason}" for reason in why[:2])
    )


def check_whole(probe: Probe, path: str) -> None:
    """Check that a module runs once in a call and puts out one tensor with places, or others that do not reach the logits.

    Raises:
        ValueError: It runs more than once, so that only its last output would be read, or several outputs reach the logits.
    """
    logits, recorded = probe.graph([path])
    for r in recorded:
        if r.calls > 1:
            raise ValueError(f"it runs {r.calls} times in a forward pass, so that one output is not all that it sees")
        others = [t for t in r.others if t.requires_grad and t is not r.tensor and _may_have_places(t, probe)]
        with torch.enable_grad():  # the caller may have gradients off
            gradients = torch.autograd.grad(logits.sum(), others, allow_unused=True) if others else ()
        if any(_any(gradient) for gradient in gradients):
            raise ValueError(
                f"it puts out {1 + len(others)} tensors with places (branches), and the logits are made of several"
            )


def qualified(logits: Tensor, recorded: Sequence[Recorded], probe: Probe) -> list[Recorded]:
    """The recorded modules, in order, to whose places the gradient of the logits comes without cancelling; one per tensor."""
    kept = [r for r in recorded if r.calls == 1 and not r.passes_on and r.tensor._version == r.version]
    kept = [r for r in kept if r.tensor.requires_grad and _may_have_places(r.tensor, probe)]
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)).to(logits)
    tensors = [r.tensor for r in kept]
    others = [tensor for r in kept for tensor in r.others if tensor.requires_grad]
    if not tensors:
        return []
    with torch.enable_grad():  # the caller may have gradients off
        gradients = torch.autograd.grad(
            (logits * weights).sum(), tensors + others, retain_graph=True, allow_unused=True
        )
    used = {id(tensor) for tensor, gradient in zip(others, gradients[len(tensors) :], strict=True) if _any(gradient)}
    return _one_per_tensor(
        [
            r
            for r, gradient in zip(kept, gradients, strict=False)
            if gradient is not None and _carries(r.tensor, gradient, probe) and not used & set(map(id, r.others))
        ]
    )


def _one_per_tensor(recorded: Sequence[Recorded]) -> list[Recorded]:
    """One module for each tensor, in order: that which puts it out alone before others, then that highest up."""
    best: dict[int, Recorded] = {}
    for r in recorded:
        other = best.setdefault(id(r.tensor), r)
        if (not r.alone, r.path.count(".")) < (not other.alone, other.path.count(".")):
            best[id(r.tensor)] = r
    return [r for r in recorded if best[id(r.tensor)] is r]


def _may_have_places(tensor: Tensor, probe: Probe) -> bool:
    return len(tensor) == 1 and any(
        min(place.grid) > 1 for place in readings(tuple(tensor.shape), probe.size, probe.patches)
    )


def _any(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.any())


def _carries(tensor: Tensor, gradient: Tensor, probe: Probe) -> bool:
    # In some reading the places have a gradient, and the sum over channels of input times gradient does not cancel there.
    product = tensor.detach().double() * gradient.double()
    for layout, grid, tokens in readings(tuple(tensor.shape), probe.size, probe.patches):
        if min(grid) > 1:
            part = product[:, layout.prefix_tokens :] if tokens else product
            summed = part.sum(layout.channel_axis).abs().amax()
            parts = part.abs().sum(layout.channel_axis).amax()
            if float(summed) > _CANCELS * float(parts):
                return True
    return False


def _ends(earlier: Sequence[Recorded], final: str, grids: Mapping[str, tuple[int, int]]) -> list[str]:
    """The last layer of each size of map above the last one's, or else of each block; blocks and stages before others."""
    sizes: dict[int, list[str]] = {}
    for candidate in earlier:
        sizes.setdefault(math.prod(grids[candidate.path]), []).append(candidate.path)
    bigger = [_block_or_last(paths) for places, paths in sizes.items() if places > math.prod(grids[final])]
    if len(bigger) >= 2:
        return [c.path for c in earlier if c.path in bigger[-3:]]
    return [c.path for c in earlier if _NUMBERED.search(c.path) and not final.startswith(f"{c.path}.")]


def _block_or_last(paths: Sequence[str]) -> str:
    return next((path for path in reversed(paths) if _NUMBERED.search(path)), paths[-1])
