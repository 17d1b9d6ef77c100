"""Objective, the contract of every loss, and AttributionObjective, the base of losses on attributions."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_guidance.attributions import Attribution, InputXGradient
from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import IMPORTANCE
from hf_guidance.forward import Forward
from hf_guidance.forward.maps import onto_image
from hf_guidance.objectives.normalizations import Identity, Normalization
from hf_guidance.views import Needs

_GRIDS = ("importance", "attribution")


@dataclass(frozen=True)
class Objective:
    """Base: one number per explained row (or per image, for task losses).

    An objective holds no model and no state; objectives with equal fields are equal.
    """

    def needs(self) -> Needs:
        """What the objective reads of a Forward."""
        raise NotImplementedError(f"{type(self).__name__} must define needs().")

    def rows(self, forward: Forward) -> Tensor:
        """How much each explained row counts, (rows,) float >= 0; by default one where annotated, else zero."""
        return forward.annotated

    def lacks(self) -> str:
        """What rows lack where none of a whole epoch counts, with the fix: training is then stopped, and says it.

        An objective that counts only some annotated rows, by the columns of the batch alone, overrides it; its ``rows`` is then
        also asked of a BatchColumns, before any model call; where that lacks what it reads, as logits, it is taken to count.
        By default nothing is said.
        """
        return ""

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every explained row, (rows,), unreduced."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(forward).")


@dataclass(frozen=True)
class AttributionObjective(Objective):
    """Base of losses between an attribution map A and human importance M.

    The map is normalised, then brought to the grid of the comparison, then compared entry by entry: the order of
    arXiv 2303.11932's code.

    Attributes:
        attribution: The method that makes the map A.
        normalization: What is done to the map before the comparison; the default differs by objective.
        importance: Column with human importance of the explained rows, (rows, height, width) or (rows, objects) in [0, 1].
        grid: The grid of the comparison. "importance" upsamples the map (bilinear) to the importance, as arXiv 2303.11932
            does; "attribution" averages the importance onto the map's grid, as losses on 7x7 maps do, and costs less.

    Raises:
        ValueError: Unknown grid, or ``attribution`` or ``normalization`` is not one.
    """

    attribution: Attribution = field(default_factory=InputXGradient)
    normalization: Normalization = field(default_factory=Identity)
    importance: str = IMPORTANCE
    grid: str = "importance"

    def __post_init__(self) -> None:
        check_choice("grid", self.grid, _GRIDS, self)
        if not isinstance(self.normalization, Normalization):
            raise ValueError(
                f"{type(self).__name__}(normalization={self.normalization!r}) is not a Normalization; give for example "
                "MaxAbs()."
            )
        if not isinstance(self.attribution, Attribution):
            raise ValueError(
                f"{type(self).__name__}(attribution={self.attribution!r}) is not an attribution; give for example GradCAM()."
            )

    def needs(self) -> Needs:
        """What the attribution reads."""
        return self.attribution.needs()

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every explained row; those without annotation have a finite value that does not count."""
        device = forward.column(forward.family.features).device.type
        with torch.autocast(device, enabled=False):
            attribution, importance = self.compared(forward)
            return self.formula(attribution.flatten(1), importance.flatten(1))

    def compared(self, forward: Forward) -> tuple[Tensor, Tensor]:
        """The normalised map and the importance on one grid, (rows, *channels, *space) each."""
        attribution = self.normalization(forward.attribution(self.attribution))
        boxes = forward.importance(self.importance)
        if attribution.dim() == 3 and boxes.dim() == 2:
            if self.attribution.by_place() == self.attribution:  # these are no channels of boxes
                raise ValueError(
                    f"{self.attribution!r} gives maps of {_space(attribution)} places, and column {self.importance!r} one "
                    f"number for each of {boxes.shape[1]} boxes; name a column of maps, as importance='human_map' "
                    "(QuestionCollator makes it with map_size=(14, 14)), or take a layer with boxes."
                )
            return attribution, boxes.to(attribution.dtype)[:, None].expand_as(attribution)
        if self.grid == "attribution" or attribution.dim() == 2:
            importance = forward.importance(self.importance, _space(attribution))
        else:
            importance = forward.importance(self.importance)
            size = (importance.shape[-2], importance.shape[-1])
            attribution = onto_image(attribution, size, forward.seen(_space(attribution)))
        importance = importance.to(attribution.dtype)
        return attribution, importance if attribution.dim() < 4 else importance[:, None].expand_as(attribution)

    def formula(self, attribution: Tensor, importance: Tensor) -> Tensor:
        """The formula that the fields choose, (rows, n), (rows, n) to (rows,): ``loss`` unless there are variants."""
        return self.loss(attribution, importance)

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """The paper's formula: (rows, n), (rows, n) to (rows,)."""
        raise NotImplementedError("an AttributionObjective must define loss(attribution, importance).")


def without_padding(forward: Forward, importance: Tensor) -> Tensor:
    """Importance of boxes (rows, objects) with NaN at padding, so that no comparison with it is true."""
    real = forward.real_places(tuple(importance.shape[1:])) if importance.dim() == 2 else None
    return importance if real is None else importance.masked_fill(~forward.of_rows(real), torch.nan)


def _space(attribution: Tensor) -> tuple[int, ...]:
    return tuple(attribution.shape[2:] if attribution.dim() == 4 else attribution.shape[1:])
