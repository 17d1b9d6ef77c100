"""One of several attentions of a query over boxes, by a sum."""

from __future__ import annotations

from torch import Tensor, nn

from hf_guidance.models.shared.edited_boxes import choose, repeat_rows


class AttentionHop(nn.Module):
    """``s_k = w_P . tanh(W_I v_k + W_Q u + b_A) + b_P``, the scores before the softmax.

    Args:
        size: Size of v_k, a projected box, and of u, the query.
        attention_size: Size of the hidden layer.
    """

    def __init__(self, size: int, attention_size: int) -> None:
        super().__init__()
        self.box = nn.Linear(size, attention_size, bias=False)
        self.query = nn.Linear(size, attention_size)
        self.score = nn.Linear(attention_size, 1)

    def forward(self, boxes: Tensor, query: Tensor, keep: Tensor | None = None, other: Tensor | None = None) -> Tensor:
        """Score boxes.

        Args:
            boxes: (n, objects, size).
            query: (m, size), n and m multiples of each other, copy by copy.
            keep: (rows, objects) bool: where False, the box is ``other``.
            other: (1, n or rows; 1 or objects; size).

        Returns:
            (max(n, m) or rows, objects).
        """
        asked = self.query(query)
        scores = self._scores(boxes, asked)
        if keep is not None and other is not None:
            scores = choose(keep, scores, self._scores(other, asked), len(boxes))
        return scores

    def _scores(self, boxes: Tensor, asked: Tensor) -> Tensor:
        # The part of the boxes is computed once, whatever the number of queries; the tanh of the sum once for each query.
        rows = max(len(boxes), len(asked))
        per_copy = repeat_rows(asked, rows).unflatten(0, (rows // len(boxes), len(boxes)))
        hidden = (self.box(boxes) + per_copy[:, :, None]).tanh()
        scores: Tensor = self.score(hidden)[..., 0].flatten(0, 1)
        return scores
