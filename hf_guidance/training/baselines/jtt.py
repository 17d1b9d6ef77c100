"""JtT: the rows that a first model gets wrong are seen more often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hf_guidance.common.checks import check_count
from hf_guidance.training.baselines.method import Method, MethodRun, Step
from hf_guidance.training.baselines.setting import Setting


class _Run(MethodRun):
    def __init__(self, errors: Tensor, rows: int, copies: int) -> None:
        super().__init__()
        self._errors = errors
        self.order = upweighted(errors, rows, copies)

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        loss = step.cross_entropy().mean()
        return loss, {"task": loss}

    def state(self) -> dict[str, Tensor]:
        return {"errors": self._errors}


@dataclass(frozen=True)
class JtT(Method):
    """Just train twice: cross-entropy over all rows and ``copies`` further copies of the rows that a first model gets wrong.

    ``E = {n : argmax_c g(x_n)_c != y_n}`` of the identification model g, in eval mode and without augmentation, before the
    first step. An epoch draws every row once and every row of E ``copies`` times more: the official code's concatenated set,
    in which a row of E weighs ``1 + copies``. The paper says weight lambda, which is ``copies = lambda - 1``.

    Args:
        copies: Further copies of each row of E, at least 1. The official code has no value of its own; the comparison of
            CRAYON has 100 (Waterbirds), 20 (CelebA) and 5 (IN-9).
        identifier: The identification model; the trained model as training begins when None, as in that comparison.

    Raises:
        ValueError: ``copies`` below 1. On training, E is empty.

    When to use:
        A starting model that errs on rows without the shortcut, and no annotation at all.

    Reference:
        Liu et al., "Just Train Twice: Improving Group Robustness without Training Group Information", ICML 2021, arXiv
        2107.09044, algorithm 1; anniesch/jtt@1de6cc5.

    Example:
        >>> from hf_guidance.training.baselines import JtT
        >>> method = JtT(copies=20)
    """

    copies: int = 100
    identifier: nn.Module | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_count("copies", self.copies, self)

    def begin(self, setting: Setting, saved: Mapping[str, Tensor] | None) -> MethodRun:
        """Find E, or read that of the checkpoint."""
        if saved is not None:
            return _Run(saved["errors"], len(setting), self.copies)
        logits, labels = setting.predicted("JtT: the error set", self.identifier)
        errors = (logits.argmax(1) != labels).nonzero().flatten()
        if not len(errors):
            raise ValueError(
                f"JtT: the identification model gets all {len(labels)} training rows right, so that the error set is empty. "
                "Give one that was trained less: JtT(identifier=...), for example an earlier checkpoint."
            )
        return _Run(errors, len(setting), self.copies)


def upweighted(errors: Tensor, rows: int, copies: int) -> Tensor:
    """The rows of one epoch: every row, then ``copies`` times those of the error set.

    Args:
        errors: (errors,) int64, the error set.
        rows: Number of rows.
        copies: Further copies of each of them.

    Returns:
        (rows + copies * errors,) int64.
    """
    return torch.cat([torch.arange(rows), errors.repeat(copies)])
