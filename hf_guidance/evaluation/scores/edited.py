"""Runs a model on the boxes that are important to people, on its top boxes, and on the others, for one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hf_guidance.attributions import Attribution
from hf_guidance.common.eval_mode import evaluating
from hf_guidance.data.columns import IMPORTANCE
from hf_guidance.evaluation.right_reasons import RRR, answer_score, right_reasons
from hf_guidance.evaluation.top_boxes import top_boxes
from hf_guidance.families import Family
from hf_guidance.forward import Forward
from hf_guidance.forward.maps import full_precision
from hf_guidance.views import Important, Needs, Replace, View
from hf_guidance.views.layers import LOGITS


@dataclass(frozen=True)
class EditedInputs:
    """Measures batches on edited inputs; ``explanation_scores`` documents the fields.

    Raises:
        ValueError: Options out of range.
    """

    model: nn.Module
    family: Family
    attribution: Attribution
    threshold: float
    levels: tuple[float, ...]
    inv_draws: int
    replace: Replace
    max_rows: int | None

    def __post_init__(self) -> None:
        if not self.levels or not all(0 < level < 1 for level in self.levels):
            raise ValueError(f"levels={self.levels!r}; give shares of boxes above 0 and below 1, as (0.1, 0.25, 0.5).")
        if self.inv_draws < 1:
            raise ValueError(f"inv_draws={self.inv_draws}; give at least 1 random part per data point, 3 in the paper.")

    def measure(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Run the batch in eval mode without a graph; returns values by name, one entry per data point."""
        with torch.no_grad(), evaluating(self.model):
            first = self._of_people(batch)
            return first | self._of_model(batch, first)

    def _of_people(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        reasons = RRR(self.threshold, self.replace, self.inv_draws)
        important, rest = reasons.important(), reasons.rest()
        parts = [self._given_part(batch, draw) or part for draw, part in enumerate(reasons.compared())]
        needs = self.attribution.needs() | [(view, LOGITS) for view in (important, rest, *parts)]
        forward = Forward(self.model, self.family, batch, needs, max_rows=self.max_rows)
        maps, importance = forward.attribution(self.attribution), forward.importance(IMPORTANCE)
        if maps.dim() != 2 or maps.shape != importance.shape:
            raise ValueError(
                f"{self.attribution!r} gives {tuple(maps.shape)} and column 'importance' is {tuple(importance.shape)}; "
                "both must be (rows, objects): take the attribution at layer 'input' of a model of region features."
            )
        real = forward.real_places(tuple(maps.shape[1:]))
        real = torch.ones_like(importance, dtype=torch.bool) if real is None else real
        is_important = (importance > self.threshold) & real
        found = right_reasons(forward, important, rest, parts)
        return {
            "accuracy": answer_score(forward, forward.logits().argmax(1)),
            "rrr_suff": found["rrr_suff"],
            "rrr_unc": found["rrr_unc"],
            "same_answers": found["same"].sum(0),
            "attribution": maps,
            "importance": importance,
            "real": real,
            "is_important": is_important,
            "has_importance": is_important.any(1) & (forward.annotated > 0),
        }

    def _given_part(self, batch: dict[str, Any], draw: int) -> View | None:
        column = f"invariance_{draw}"
        return View(Important(0.5, column=column), self.replace) if column in batch else None

    def _of_model(self, batch: dict[str, Any], first: dict[str, Tensor]) -> dict[str, Tensor]:
        top = torch.stack([top_boxes(first["attribution"], level, first["real"]) for level in self.levels])
        # The top boxes become importance columns, so that their views are made like all others.
        columns = {f"top_{level}": mask.to(torch.float32) for level, mask in zip(self.levels, top, strict=True)}
        views = [View(Important(0.5, invert, column), self.replace) for invert in (False, True) for column in columns]
        needs = Needs((view, LOGITS) for view in views)
        forward = Forward(self.model, self.family, batch | columns, needs, max_rows=self.max_rows)
        predicted = forward.logits().argmax(1, keepdim=True)
        logits = [forward.logits(), *(forward.logits(view)[0] for view in views)]
        probabilities = torch.cat([full_precision(of).softmax(1).gather(1, predicted) for of in logits], dim=1)
        return {
            "full_probability": probabilities[:, 0],
            "kept_probabilities": probabilities[:, 1 : len(top) + 1],
            "removed_probabilities": probabilities[:, len(top) + 1 :],
            "top": top.movedim(0, 1),
        }
