"""ModelOutputs: what a model returned of the full input, beside its logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_guidance.common.outputs import entry_of
from hf_guidance.families import FullCall
from hf_guidance.forward.columns import BatchColumns
from hf_guidance.forward.groups import inverse_permutation


class ModelOutputs(BatchColumns):
    """The columns of a batch, and the outputs of the call on the full input."""

    _full: FullCall
    _groups: Sequence[Sequence[int]] | None

    def output(self, name: str) -> Tensor | None:
        """A further output of the model on the full input, with its gradients; no need of it is declared.

        Args:
            name: The key or attribute of what the model returns.

        Returns:
            (images, ...); None if the model returns no tensor of that name.
        """
        found = [entry_of(part, name) for part in self._full.parts or (self._full.outputs,)]
        tensors = [tensor for tensor in found if isinstance(tensor, Tensor)]
        return self._of_images(tensors) if len(tensors) == len(found) else None

    def _of_images(self, raw: list[Tensor]) -> Tensor:
        if self._groups is None:
            return raw[0]
        order = [image for group in self._groups for image in group]
        return torch.cat(raw)[inverse_permutation(order)]
