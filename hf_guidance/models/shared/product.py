"""The layer at which the question and the image become one vector, by a product."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from hf_guidance.models.shared.edited_boxes import repeat_rows
from hf_guidance.models.shared.normed_linear import NormedLinear


class Product(nn.Module):
    """``J = a * b``, entry by entry: a module, so that J is a layer that can be explained."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply (rows, size) by (rows, size)."""
        return a * b


class ProductFusion(nn.Module):
    """``J = relu(W_v v) * relu(W_q q)``, with weight-normalised layers.

    Args:
        image_size: Size of v.
        question_size: Size of q.
        size: Size of J.
    """

    def __init__(self, image_size: int, question_size: int, size: int) -> None:
        super().__init__()
        self.image = NormedLinear(image_size, size)
        self.question = NormedLinear(question_size, size)

    def forward(self, image: Tensor, question: Tensor) -> Tensor:
        """(rows, image_size) and (rows or batch, question_size), copy by copy -> (rows, size)."""
        gate = functional.relu(self.question(question))
        return functional.relu(self.image(image)) * repeat_rows(gate, len(image))
