"""Classifier: a model with its family, called on a batch for logits, or for logits and the features below its last layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from hf_guidance.common.wrappers import unwrapped
from hf_guidance.families import Family, family_of
from hf_guidance.forward import Forward
from hf_guidance.views import FULL, Needs
from hf_guidance.views.layers import LOGITS


@dataclass(frozen=True)
class Classifier:
    """A model and what is known of its architecture.

    Attributes:
        model: The model, possibly wrapped in DistributedDataParallel.
        family: Of the model.
    """

    model: nn.Module
    family: Family

    @classmethod
    def of(cls, model: nn.Module, family: Family | None = None) -> Classifier:
        """The model with its family, which is found where none is given.

        Raises:
            ValueError: There is none, see ``family_of``.
        """
        return cls(model, family_of(model) if family is None else family)

    def logits(self, batch: Mapping[str, Any]) -> Tensor:
        """(images, classes) of a batch."""
        logits: Tensor = Forward(self.model, self.family, batch, Needs([(FULL, LOGITS)])).logits()
        return logits

    def with_features(self, batch: Mapping[str, Any], head: str | None = None) -> tuple[Tensor, Tensor]:
        """(images, classes) logits of a batch, and (images, features) what the last layer reads.

        Args:
            batch: The batch.
            head: Path of the last layer; found when None, see ``head``.

        Raises:
            ValueError: As ``head``, or the layer was not called once with vectors.
        """
        found: list[Tensor] = []
        path, module = self.head(head)
        handle = module.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        try:
            logits = self.logits(batch)
        finally:
            handle.remove()
        if len(found) != 1 or found[0].dim() != 2:
            read = [tuple(one.shape) for one in found]
            raise ValueError(
                f"the last layer {path!r} of {type(self.model).__name__} was called with {read}; it must be called once, with "
                "vectors (images, features). Name the Linear layer that makes the logits: head='<module path>'."
            )
        return logits, found[0]

    def head(self, given: str | None = None) -> tuple[str, nn.Linear]:
        """The path and the module of the Linear layer that makes the logits.

        Args:
            given: Its path; the family's ``pooled_linear`` when None.

        Raises:
            ValueError: The family knows none, or the path is not that of a Linear layer; the message names those of the model.
        """
        inner = unwrapped(self.model)
        path = self.family.pooled_linear if given is None else given
        modules = dict(inner.named_modules())
        module = modules.get(path or "")
        if path and isinstance(module, nn.Linear):
            return path, module
        linear = [name for name, one in modules.items() if isinstance(one, nn.Linear)][-5:]
        told = (
            f"the family of {type(inner).__name__} knows no Linear layer on pooled features"
            if given is None
            else f"head={given!r} is no Linear layer of {type(inner).__name__}"
        )
        raise ValueError(
            f"{told}; name the one that makes the logits, head='<module path>'. The last ones are {linear}."
        )
