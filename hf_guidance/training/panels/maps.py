"""The maps of a panel, and the losses of the terms on its rows, without a trace in training."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from hf_guidance.attributions import Attribution
from hf_guidance.common.eval_mode import evaluating
from hf_guidance.common.generators import generators_kept
from hf_guidance.data.columns import ANNOTATED, IMPORTANCE, TARGET
from hf_guidance.evaluation.figures import on_pixels
from hf_guidance.evaluation.row_pictures import row_picture
from hf_guidance.forward import Forward
from hf_guidance.forward.maps import onto_image
from hf_guidance.training.panels.rows import PanelRows
from hf_guidance.training.panels.words import word_titles

Array = npt.NDArray[Any]
_SEED = 0  # of views that are drawn: the same at every step
_NOTHING = 1e-7  # as in undefined_share: a map whose positive part adds up to less is dead


@dataclass(frozen=True)
class Drawn:
    """One row of a panel, or one word of a caption.

    Attributes:
        attribution: (height, width) on the pixels of ``picture``, or (objects,) of the boxes that are no padding. Of words over
            boxes a pixel has the mean of the boxes that cover it.
        importance: The same shape in [0, 1]; None where there is none.
        picture: (height, width, 3) in [0, 1]: what the model sees, or the image of a caption over boxes, or its boxes alone;
            None for questions.
        title: What is explained and what the model answers.
    """

    attribution: Array
    importance: Array | None
    picture: Array | None
    title: str

    @property
    def dead(self) -> bool:
        """Whether the map has no positive part."""
        return float(np.maximum(self.attribution, 0).sum()) < _NOTHING


@dataclass(frozen=True)
class PanelMaps:
    """What a panel shows: its rows, and the unweighted losses of the terms on them by name, as "loss/energy"."""

    drawn: list[Drawn]
    losses: dict[str, float] = field(default_factory=dict)


def panel_maps(trainer: Any, rows: PanelRows, attribution: Attribution) -> PanelMaps:
    """Compute what a panel shows, with the model as it is now.

    The model runs in eval mode and without a graph; afterwards its modes, statistics and gradients, and all random number
    generators are as they were. Of an image with several explained classes the first annotated one is shown, of a caption every
    visual word.

    Args:
        trainer: The GuidedTrainer.
        rows: The rows.
        attribution: The method.

    Raises:
        ValueError: The rows or the model do not fit the attribution.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    context = trainer.compute_loss_context_manager
    with torch.no_grad(), generators_kept(trainer.args.device, _SEED), evaluating(model), context():
        batch = trainer._prepare_inputs(rows.batch())
        found = bool(trainer._rows.annotated_images(batch)) if IMPORTANCE in batch or ANNOTATED in batch else False
        labelled = batch.get("labels") is not None
        needs = attribution.needs()
        if labelled:
            needs = needs | trainer.guidance.needs(annotated=found)
        forward = trainer._forward(model, batch, needs)
        logs = {}
        if labelled:
            _, logs = trainer.guidance(forward, None) if found else trainer.guidance(None, forward)
        maps = forward.attribution(attribution)
        losses = {name: float(value) for name, value in logs.items() if name.startswith("loss/")}
        return PanelMaps(_rows(trainer, rows, batch, forward, maps), losses)


def _rows(trainer: Any, rows: PanelRows, batch: Mapping[str, Any], forward: Forward, maps: Tensor) -> list[Drawn]:
    pictures = _pictures(trainer, rows, batch) if trainer.family.images else [None] * forward.images
    if maps.dim() > 2 and trainer.family.images:
        pixels = batch[trainer.family.features]
        size = (int(pixels.shape[-2]), int(pixels.shape[-1]))
        maps = onto_image(maps, size, forward.seen(tuple(maps.shape[-2:])))
    if maps.dim() > 2 and not trainer.family.images:
        raise ValueError(
            f"the attribution gives maps of {tuple(maps.shape[1:])} places, and questions are drawn with a bar for each box; "
            "give a method at a layer with boxes: AttributionPanel(attribution=InputXGradient())."
        )
    real = forward.real_places(tuple(maps.shape[1:]))
    importance = forward.importance(IMPORTANCE).float().cpu().numpy() if IMPORTANCE in batch else None
    values, flags = maps.float().cpu().numpy(), batch.get(ANNOTATED, [importance is not None] * len(forward.row))
    titles = None if forward.time is None else word_titles(_collator(trainer), forward)
    drawn = []
    for image, pair in _shown(rows, forward, flags):
        places = slice(None) if real is None else real[image].cpu().numpy()
        told = None if importance is None or not flags[pair] else importance[pair][places]
        title = _title(trainer, rows.rows[image], batch, forward, image, pair) if titles is None else titles[pair]
        one = Drawn(values[pair][places], told, pictures[image], title)
        over_boxes = titles is not None and one.picture is None
        drawn.append(_over_boxes(one, rows, image, batch[trainer.family.boxes], places) if over_boxes else one)
    return drawn


def _shown(rows: PanelRows, forward: Forward, flags: Any) -> list[tuple[int, int]]:
    """The images and explained rows that are drawn."""
    shown = []
    for image in range(forward.images):
        pairs = [number for number, owner in enumerate(forward.row) if owner == image]
        if not pairs:
            lacks, fix = (
                ("label", "labels") if forward.time is None else ("visual word", "a visual word that has a mask")
            )
            raise ValueError(
                f"row {rows.indices[image]} of {rows.origin} has no {lacks}, so nothing can be explained; give rows with {fix}."
            )
        first = next((number for number in pairs if flags[number]), pairs[0])
        shown += [(image, pair) for pair in ([first] if forward.time is None else pairs)]
    return shown


def _over_boxes(drawn: Drawn, rows: PanelRows, image: int, boxes: Tensor, places: Any) -> Drawn:
    """A word over boxes, as maps of the pixels of its picture."""
    corners = boxes[image].float().cpu().numpy()[places]
    picture = row_picture(rows.rows[image], corners, f"row {rows.indices[image]} of {rows.origin}")
    size = (picture.shape[0], picture.shape[1])
    told = None if drawn.importance is None else on_pixels(drawn.importance, corners, size)
    return replace(drawn, attribution=on_pixels(drawn.attribution, corners, size), importance=told, picture=picture)


def _collator(trainer: Any) -> Any:
    collator = trainer.plain_collator_for_evaluation()
    return getattr(collator, "explained", collator)


def _title(
    trainer: Any, row: Mapping[str, Any], batch: Mapping[str, Any], forward: Forward, image: int, pair: int
) -> str:
    config = getattr(trainer.accelerator.unwrap_model(trainer.model), "config", None)
    names, logits = getattr(config, "id2label", None) or {}, forward.logits()[image].float()
    several = getattr(config, "problem_type", None) == "multi_label_classification"
    shares = logits.sigmoid() if several else logits.softmax(-1)
    predicted = int(shares.argmax())
    told = int(batch[TARGET][pair]) if TARGET in batch else None
    question = f"{row['question']}\n" if isinstance(row.get("question"), str) else ""
    if told is None or (told != predicted and not several):
        label = "" if told is None else f"{names.get(told, told)} "
        return f"{question}{label}→ {names.get(predicted, predicted)} {float(shares[predicted]):.2f}"
    return f"{question}{names.get(told, told)} {float(shares[told]):.2f}"


def _pictures(trainer: Any, rows: PanelRows, batch: Mapping[str, Any]) -> list[Array]:
    """What the model sees, as pictures; of more than three channels the first three (B-cos)."""
    pixels = batch[trainer.family.features].float().cpu()
    pixels = pixels[:, :3] if pixels.shape[1] >= 3 else pixels[:, :1].expand(-1, 3, -1, -1)
    ready = "pixel_values" in rows.rows[0]  # which a transform made: no processor saw them
    levels = (
        None if ready else _levels(getattr(_collator(trainer), "image_processor", None) or trainer.processing_class)
    )
    if levels is None:  # the darkest pixel of an image is then black
        low, high = pixels.amin((1, 2, 3), keepdim=True), pixels.amax((1, 2, 3), keepdim=True)
    else:
        low, high = levels
    shown = ((pixels - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
    return list(shown.permute(0, 2, 3, 1).numpy())


def _levels(processor: Any) -> tuple[Tensor, Tensor] | None:
    """What a processor makes of black and of white, (3, 1, 1) each; None where that cannot be found."""
    flat = [Image.new("RGB", (64, 64), colour) for colour in ("black", "white")]
    with suppress(Exception):  # it only decides how bright a picture is shown
        made: Tensor = processor(images=flat, return_tensors="pt")["pixel_values"][:, :3].float()
        black, white = made.flatten(2).median(2).values
        return black[:, None, None], white[:, None, None]
    return None
