"""Finds the layers of a net of unknown architecture: those with places from which the logits are made."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hf_guidance.families.layout import Layout
from hf_guidance.families.location import check_corners, corner_cells, layout_of, quarters, readings
from hf_guidance.families.probe import Probe, Recorded
from hf_guidance.families.stages import spread

_CANCELS = 1e-4
_AT_ONCE = 8  # modules whose outputs are held at the same time
Found = dict[str, tuple[Layout, tuple[int, int]]]


def located(probe: Probe, paths: Sequence[str]) -> tuple[Found, dict[str, str]]:
    """Find the layouts of modules.

    Args:
        probe: Of the model.
        paths: Module paths.

    Returns:
        Path -> (layout, grid of places) of those whose layout was found, and path -> reason of the others.
    """
    outputs = probe.outputs(paths, quarters(probe.base, probe.other))
    found: Found = {}
    reasons = {path: "it does not run in the forward pass, or puts out no tensor" for path in paths if path not in outputs}
    for path, activation in outputs.items():
        try:
            found[path] = layout_of(activation, probe.size)
        except ValueError as error:
            reasons[path] = str(error)
    tokens = [path for path in found if outputs[path].dim() == 3]
    for grid in {found[path][1] for path in tokens}:
        of_grid = [path for path in tokens if found[path][1] == grid]
        corners = probe.outputs(of_grid, corner_cells(probe.base, probe.other, grid))
        for path in of_grid:
            try:
                check_corners(corners[path], *found[path])
            except ValueError as error:
                reasons[path] = str(error)
                del found[path]
    return found, reasons


def discover(probe: Probe, proposed: Sequence[str] = ()) -> tuple[dict[str, str], Found]:
    """Find "final", the last layer with places, and "mid1" to "mid3" before it.

    A layer qualifies if its module runs once, puts out one tensor that carries the gradient of the logits to places, and
    input times gradient does not cancel there (as it does before a LayerNorm, which is invariant to scale); its layout must
    be found, too. "final" is the last of these. The others are the last of each size of map, if there are at least three
    sizes, and else the last of each block.

    Args:
        probe: Of the model.
        proposed: Paths of stages in order, which are taken instead if they all qualify.

    Returns:
        Symbolic layer -> path, and path -> (layout, grid) of these layers.

    Raises:
        ValueError: The model cannot be called, or no layer qualifies.
    """
    logits, recorded = probe.everything()
    candidates = qualified(probe, logits, recorded)
    layers = spread(proposed) if proposed else {}
    tensors = {r.path: r.tensor for r in recorded}
    if layers and all(any(tensors.get(path) is c.tensor for c in candidates) for path in layers.values()):
        found, reasons = located(probe, list(layers.values()))
        if not reasons:
            _check_single_stream(tensors[proposed[-1]], proposed[-1], candidates)
            return layers, found
    found, final = _last(probe, candidates)
    _check_single_stream(tensors[final], final, candidates)
    earlier = candidates[: [candidate.path for candidate in candidates].index(final)]
    ends = _ends(earlier, found[final][1], final, probe.size)
    found |= located(probe, [path for path in ends if path not in found])[0]
    layers = spread([*(path for path in ends if path in found), final])
    return layers, {path: found[path] for path in layers.values()}


def _last(probe: Probe, candidates: Sequence[Recorded]) -> tuple[Found, str]:
    reasons: dict[str, str] = {}
    for start in range(0, len(candidates), _AT_ONCE):
        part = [candidate.path for candidate in candidates[::-1][start : start + _AT_ONCE]]
        found, why = located(probe, part)
        reasons |= why
        final = next((path for path in part if path in found), None)
        if final is not None:
            return found, final
    detail = "; ".join(f"{path}: {reason}" for path, reason in list(reasons.items())[:2])
    raise ValueError("no module between the input and the logits has places" + (f" ({detail})" if detail else ""))


def qualified(probe: Probe, logits: Tensor, recorded: Sequence[Recorded]) -> list[Recorded]:
    """The recorded modules, in order, to whose places the gradient of the logits comes without cancelling.

    Raises:
        ValueError: The logits have no gradient at all, for example because all weights of the head are zero.
    """
    once = [r for r in recorded if r.calls == 1 and r.tensor.requires_grad and not _passes_on(probe.model, r.path)]
    kept = [r for r in _outermost(once) if r.tensor._version == r.version and _may_have_places(r.tensor, probe.size)]
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)).to(logits)
    tensors = [r.tensor for r in kept]
    others = [tensor for r in kept for tensor in r.others if tensor.requires_grad]
    gradients = torch.autograd.grad((logits * weights).sum(), tensors + others, retain_graph=True, allow_unused=True)
    used = {id(tensor) for tensor, gradient in zip(others, gradients[len(tensors) :], strict=True) if _any(gradient)}
    return [
        r
        for r, gradient in zip(kept, gradients, strict=False)
        if _any(gradient) and _carries(r.tensor, gradient, probe.size) and not used & set(map(id, r.others))
    ]


def _passes_on(model: nn.Module, path: str) -> bool:
    module = model.get_submodule(path)
    name = type(module).__name__
    return isinstance(module, nn.Identity | nn.Linear) or "Drop" in name


def _outermost(recorded: Sequence[Recorded]) -> list[Recorded]:
    """One module for each tensor: of several that put out the same one, the first of those highest up."""
    best: dict[int, Recorded] = {}
    for r in recorded:
        other = best.get(id(r.tensor))
        if other is None or r.path.count(".") < other.path.count("."):
            best[id(r.tensor)] = r
    return [r for r in recorded if best[id(r.tensor)] is r]


def _may_have_places(tensor: Tensor, size: tuple[int, int]) -> bool:
    return len(tensor) == 1 and any(min(grid) > 1 for _, grid in readings(tuple(tensor.shape), size))


def _any(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.any())


def _carries(tensor: Tensor, gradient: Tensor, size: tuple[int, int]) -> bool:
    # In some reading the places have a gradient, and the sum over channels of input times gradient does not cancel there.
    product = tensor.detach().double() * gradient.double()
    for layout, grid in readings(tuple(tensor.shape), size):
        if min(grid) > 1:
            part = product[:, layout.prefix_tokens :] if tensor.dim() == 3 else product
            channels = layout.channel_axis
            summed, parts = part.sum(channels).abs().amax(), part.abs().sum(channels).amax()
            if float(summed) > _CANCELS * float(parts):
                return True
    return False


def _check_single_stream(last: Tensor, path: str, candidates: Sequence[Recorded]) -> None:
    """Refuse a net whose logits come from two layers with places of which neither is made from the other."""
    rest = [c for c in candidates if c.tensor is not last]
    seed = torch.randn(last.shape, generator=torch.Generator().manual_seed(2)).to(last)
    made_from = torch.autograd.grad((last * seed).sum(), [c.tensor for c in rest], retain_graph=True, allow_unused=True)
    for candidate, before in zip(rest, made_from, strict=True):
        if before is not None:
            continue
        (behind,) = torch.autograd.grad(candidate.tensor.sum(), last, retain_graph=True, allow_unused=True)
        if behind is None:
            raise ValueError(
                f"the logits come from several branches with places, {candidate.path!r} and {path!r}, of which neither is made "
                "from the other, so that a map of one of them leaves out what the other sees"
            )


def _ends(earlier: Sequence[Recorded], last: tuple[int, int], final: str, size: tuple[int, int]) -> list[str]:
    sizes: dict[int, str] = {}
    for candidate in earlier:
        places = _places(candidate.tensor, size)
        sizes.pop(places, None)
        sizes[places] = candidate.path
    bigger = [path for places, path in sizes.items() if places > last[0] * last[1]]
    if len(bigger) >= 2:
        return bigger[-3:]
    blocks: dict[str, str] = {}
    for candidate in earlier:
        if (block := _block(candidate.path)) and block != _block(final):
            blocks[block] = candidate.path
    return list(blocks.values())


def _block(path: str) -> str:
    found = re.match(r".*?\.\d+(?=\.|$)", path)
    return found[0] if found else ""


def _places(tensor: Tensor, size: tuple[int, int]) -> int:
    grids = [grid for _, grid in readings(tuple(tensor.shape), size) if min(grid) > 1]
    return min(height * width for height, width in grids)
