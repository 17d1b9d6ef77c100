"""Maps of one batch: a forward, the classes that it tells, and the attribution of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hf_guidance.attributions import Attribution, PredictedLogit
from hf_guidance.data.columns import ROW, SLOT, TARGET
from hf_guidance.evaluation.explaining.targets import Rank, Wanted, chosen_classes
from hf_guidance.families import Family
from hf_guidance.forward import Forward, full_precision


@dataclass(frozen=True)
class ExplainedBatch:
    """What a batch gives.

    Attributes:
        maps: (rows, *space), one per explained class, image by image.
        classes: The explained classes of each image.
        logits: (images, classes), float32 or float64.
        seen: (height, width) of the part of the input that the places cover, as shares.
    """

    maps: npt.NDArray[np.floating]
    classes: list[list[int]]
    logits: npt.NDArray[np.floating]
    seen: tuple[float, float]


def explained_batch(
    model: nn.Module,
    family: Family,
    columns: Mapping[str, Any],
    method: Attribution,
    wanted: Sequence[Sequence[Wanted]],
    max_rows: int | None,
) -> ExplainedBatch:
    """Explain classes of the images of a batch; called inside ``quiet``.

    Args:
        model: The unwrapped model.
        family: Of the model.
        columns: What its forward takes.
        method: The attribution.
        wanted: Of each image, the classes to explain.
        max_rows: As for `Forward`.

    Raises:
        ValueError: The method explains the predicted class only and another is wanted; there is no such class; or the map
            is not one finite number per place.
    """
    if method.target == PredictedLogit() and any(list(image) != [Rank(0)] for image in wanted):
        raise ValueError(
            f"{method} explains the predicted class, whatever target says; leave PredictedLogit() out of the attribution."
        )
    slots = [slot for image in wanted for slot, _ in enumerate(image)]
    rows = {ROW: [index for index, image in enumerate(wanted) for _ in image], SLOT: slots}
    batch: dict[str, Any] = {**columns, **rows}
    forward = Forward(model, family, batch, method.needs(), max_rows=max_rows)
    logits = full_precision(forward.logits().detach()).cpu().numpy()
    classes = chosen_classes(wanted, logits)
    # Forward reads the column when the first score is asked for, so predicted classes need no call of their own.
    device = batch[family.features].device
    batch[TARGET] = torch.tensor([number for image in classes for number in image], dtype=torch.long, device=device)
    maps = full_precision(forward.attribution(method).detach())
    axes = 2 if family.images else 1
    if maps.dim() != axes + 1:
        raise ValueError(
            f"{method} gives {tuple(maps.shape[1:])} for a class, not one number per place; choose a layer with places, and an "
            "attribution that sums over channels."
        )
    if not torch.isfinite(maps).all():
        image = rows[ROW][int((~torch.isfinite(maps.flatten(1))).any(1).nonzero()[0])]
        raise ValueError(
            f"{method} gives NaN or infinity for image {image} of a batch of {len(wanted)}, whose logits are finite. Has the "
            "model diverged, or do gradients overflow in its dtype? Try model.float()."
        )
    return ExplainedBatch(maps.cpu().numpy(), classes, logits, forward.seen(tuple(maps.shape[1:])))
