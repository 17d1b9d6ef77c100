"""Attention of a question over places, by a product."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from hf_guidance.models.shared.box_attention import gated_dots
from hf_guidance.models.shared.edited_boxes import choose
from hf_guidance.models.shared.normed_linear import NormedLinear


class ProductAttention(nn.Module):
    """``s_k = w . (relu(W_p x_k) * relu(W_q q)) + b``, the scores before the softmax, with weight-normalised layers.

    Args:
        place_size: Size of x_k.
        question_size: Size of q.
        size: Size of the product.
    """

    def __init__(self, place_size: int, question_size: int, size: int) -> None:
        super().__init__()
        self.projection = NormedLinear(place_size, size)
        self.question = NormedLinear(question_size, size)
        self.score = NormedLinear(size, 1)

    def project(self, places: Tensor) -> Tensor:
        """``relu(W_p x)``, (..., place_size) -> (..., size): the part that does not depend on the question."""
        return functional.relu(self.projection(places))

    def forward(
        self, projected: Tensor, question: Tensor, keep: Tensor | None = None, other: Tensor | None = None
    ) -> Tensor:
        """Score places.

        Args:
            projected: (n, places, size).
            question: (m, question_size), n and m multiples of each other, copy by copy.
            keep: (rows, places) bool: where False, the place is ``other``.
            other: (1, n or rows; 1 or places; size), projected.

        Returns:
            (max(n, m) or rows, places).
        """
        # w . (p * g) = p . (w * g): the question and the weights are multiplied once, not once per place.
        gate = functional.relu(self.question(question)) * self.score.weight
        scores = gated_dots(projected, gate)
        if keep is not None and other is not None:
            scores = choose(keep, scores, gated_dots(other, gate), len(projected))
        return scores + self.score.bias
