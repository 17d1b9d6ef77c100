"""Perturbation: the base of the methods that replace places and read how the score changes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.attributions.attribution import Attribution
from hf_guidance.forward import Forward
from hf_guidance.views import FULL, Keep, Needs, Replace, View, negative_ones
from hf_guidance.views.layers import LOGITS, is_input


@dataclass(frozen=True)
class Perturbation(Attribution):
    """Base of perturbation methods. Their maps are made of scores, so training needs first derivatives only.

    Masks are drawn once per step; methods with equal views share the masks and the model call.

    Attributes:
        replace: What stands where a place is taken out.
    """

    replace: Replace = negative_ones

    @property
    def views(self) -> tuple[View, ...]:
        """The views whose scores the method reads."""
        raise NotImplementedError(f"{type(self).__name__} must define views.")

    @property
    def explains_one_place(self) -> bool:
        """Whether only one place per explained row can be other than 0, so that a normalised map is constant."""
        return False

    def view(self, keep: Keep) -> View:
        """The view with this keep that edits the method's layer."""
        return View(keep, self.replace, layer=self.layer)

    def needs(self) -> Needs:
        """The logits of the full input and of the views; at inner layers also the activation that is edited."""
        edited = [] if is_input(self.layer) else [(FULL, self.layer)]
        return Needs([(FULL, LOGITS), *edited, *((view, LOGITS) for view in self.views)])

    def mask(self, forward: Forward, view: View, scores: Tensor) -> Tensor:
        """The mask of a view, (copies, rows or 1, *space), in the dtype and on the device of its scores."""
        keep = forward.keep(view).to(scores.device)
        return (forward.of_rows(keep.movedim(1, 0)).movedim(0, 1) if keep.shape[1] > 1 else keep).to(scores.dtype)


def over_repeats(changes: Tensor, chosen: Tensor) -> Tensor:
    """Mean change of the score over the copies that chose a place, 0 where no copy did.

    Args:
        changes: Change of the explained rows' scores, (copies, rows).
        chosen: (copies, rows or 1, *space), 1 at the place that the copy keeps or leaves out, else 0.

    Returns:
        (rows, *space).
    """
    flat = chosen.flatten(2)
    total = (changes[..., None] * flat).sum(0)
    maps: Tensor = (total / flat.sum(0).clamp_min(1)).unflatten(1, chosen.shape[2:])
    return maps
