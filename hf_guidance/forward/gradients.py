"""First derivatives of explained scores: by autograd, one backward per slot, or in closed form at a (mean, Linear) head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from hf_guidance.forward.groups import inverse_permutation
from hf_guidance.forward.maps import full_precision
from hf_guidance.second_order import first_derivative
from hf_guidance.second_order.dynamic_weights import fixed_dynamic_weights

_HALF_SCALE = 2.0**12  # fp16 gradients of one logit underflow without it; measured error with it 0.08 %


def slotwise_gradient(
    scores: Tensor,
    raw: Sequence[Tensor],
    row: Sequence[int],
    slot: Sequence[int],
    to_space: Callable[[Tensor], Tensor],
    *,
    create_graph: bool,
    fixed_weights: bool = False,
    groups: Sequence[Sequence[int]] | None = None,
    keep_graph: bool = True,
) -> Tensor:
    """Differentiate the score of every explained row with respect to the activation of its image.

    The scores of one slot belong to different images, so the gradient of their sum holds the gradient of each score at its
    image: one backward per slot is enough (exact if images do not affect each other, so not with BatchNorm in training mode).

    Args:
        scores: (copies, rows).
        raw: Activations, together (copies * images, ...).
        row: Image of each explained row.
        slot: Slot of each explained row.
        to_space: Brings a raw gradient to (copies * images, channels, *space).
        create_graph: Whether the result can be differentiated again.
        fixed_weights: Whether dynamic weights count as constants (see second_order/dynamic_weights.py).
        groups: The images that each activation holds; None if every activation holds all images.
        keep_graph: Whether the graph of the scores is used again.

    Returns:
        (copies, rows, channels, *space), float32 if the activation is of half precision.
    """
    scale = _HALF_SCALE if torch.float16 in (scores.dtype, raw[0].dtype) else 1.0
    parts, order = [], []
    slots = sorted(set(slot))
    if not slots:
        nothing: Tensor = full_precision(to_space(torch.cat(list(raw)))).unflatten(0, (scores.shape[0], -1))
        return nothing[:, :0]
    for current in slots:
        chosen = [index for index, value in enumerate(slot) if value == current]
        images = [row[index] for index in chosen]
        wanted, held = _holding(images, raw, groups)
        everything = len(chosen) == len(slot)
        total = scores.sum() if everything else scores[:, chosen].sum()
        with first_derivative(), fixed_dynamic_weights() if fixed_weights else nullcontext():
            gradients = torch.autograd.grad(
                total.float() * scale if scale != 1.0 else total,
                wanted,
                create_graph=create_graph,
                retain_graph=keep_graph or current != slots[-1],
            )
        joined = torch.cat([to_space(g) for g in gradients]) if len(gradients) > 1 else to_space(gradients[0])
        gradient = full_precision(joined).unflatten(0, (scores.shape[0], -1))
        places = images if held is None else [held[image] for image in images]
        parts.append(gradient if places == list(range(gradient.shape[1])) else gradient[:, places])
        order.extend(chosen)
    if len(parts) > 1:
        parts = [torch.cat(parts, dim=1)[:, inverse_permutation(order)]]
    unscaled: Tensor = parts[0] / scale
    return unscaled if scale != 1.0 else parts[0]


def _holding(
    images: Sequence[int], raw: Sequence[Tensor], groups: Sequence[Sequence[int]] | None
) -> tuple[Sequence[Tensor], dict[int, int] | None]:
    """The activations that hold any of the images, and the position of each image once they are concatenated."""
    if groups is None:
        return raw, None
    chosen = set(images)
    used = [index for index, group in enumerate(groups) if chosen.intersection(group)]
    order = [image for index in used for image in groups[index]]
    return [raw[index] for index in used], {image: place for place, image in enumerate(order)}


def cam_gradient(weights: Tensor, linear: nn.Module, activation: Tensor) -> Tensor:
    """Gradient at the input of a (spatial mean, Linear) head: ``weights @ W / places``, the same at every place.

    CAM (arXiv 1512.04150, eq. 2) up to the factor 1 / places of the mean.

    Args:
        weights: (rows, classes) class weights of the target, for each explained row.
        linear: The Linear of the head.
        activation: (rows, channels, *space), for its shape.

    Returns:
        The gradient, expanded to the shape of ``activation`` without copying. Differentiable in the weight of the head.
    """
    places = activation[0, 0].numel()
    weight: Tensor = linear.get_parameter("weight")
    per_channel = weights.to(activation.dtype) @ weight.to(activation.dtype) / places
    return per_channel.reshape(*per_channel.shape, *[1] * (activation.dim() - 2)).expand_as(activation)
