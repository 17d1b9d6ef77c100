"""Which images of a batch views edit: those with annotated explained rows, where the batch tells what is annotated.

What a view shows of other images reaches no term. In a batch of 64 images with 6 annotated ones, calling the model on copies of
all would cost ten times as much, and in train mode BatchNorm would normalise the 6 by statistics of 58 empty images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hf_guidance.data.columns import ANNOTATED
from hf_guidance.forward.calls import Edit


def images_with_rows(batch: Mapping[str, Any], row: Sequence[int], images: int) -> list[int] | None:
    """The images with explained rows, in order; None where that is all or none, or the batch has no column "annotated"."""
    found = sorted(set(row))
    return found if ANNOTATED in batch and 0 < len(found) < images else None


def of_images(inputs: Mapping[str, Any], chosen: Sequence[int], images: int) -> dict[str, Any]:
    """The arguments of the model's forward for some of the images."""
    return {
        name: value[chosen] if isinstance(value, Tensor) and value.dim() and len(value) == images else value
        for name, value in inputs.items()
    }


def edit_of(edit: Edit, chosen: Sequence[int]) -> Edit:
    """A view that is ready for a call, for some of the images."""
    keep = edit.keep if edit.keep.shape[1] == 1 else edit.keep[:, chosen]
    fill = edit.fill[chosen] if edit.fill.dim() else edit.fill
    return replace(edit, original=edit.original[chosen], keep=keep, fill=fill)


def spread(logits: Tensor, chosen: Sequence[int], images: int) -> Tensor:
    """Logits (copies, chosen images, classes) as (copies, images, classes), 0 for the other images."""
    places = torch.tensor(chosen, device=logits.device)
    every = logits.new_zeros(len(logits), images, *logits.shape[2:])
    return every.index_copy(1, places, logits)


def keep_others(keep: Tensor, chosen: Sequence[int]) -> Tensor:
    """The mask (copies, images, *space) of a view that leaves the other images as they are; one for all images stays so."""
    if keep.shape[1] == 1:
        return keep
    edited = torch.zeros(keep.shape[1], dtype=torch.bool)
    edited[chosen] = True
    edited = edited.to(keep.device).reshape(1, -1, *[1] * (keep.dim() - 2))
    return torch.where(edited, keep, torch.ones_like(keep))
