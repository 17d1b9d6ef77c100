"""TermScores: the losses of a guidance over an evaluated set, every row once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance, Term, counted, undefined
from hf_guidance.objectives import AttributionObjective

# The columns of a term, for every image the sums over its explained rows: their losses, how much they count, how many have a
# map without positive entry, and of how many.
_VALUE, _COUNT, _UNDEFINED, _MAPS = range(4)


class TermScores:
    """Losses of the terms over a set, however it is cut into batches and dealt out to processes.

    Every batch leaves a table with a row for each image; the tables are joined over processes without the rows that fill up
    the last batch. ``loss/<term>`` is then the sum over the set divided by its images (reduction "batch") or by its explained
    rows that count ("rows"); with "sum" it is the average over batches, weighted by their images.
    ``undefined_share/<term>`` is the share of all annotated explained rows.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was added."""
        self._tables: list[Tensor] = []
        self._weights: dict[str, Term] = {}
        self._measured: tuple[Tensor, Tensor] | None = None

    def measure(self, guidance: Guidance, forward: Forward, annotated: bool, real: int) -> Tensor:
        """Measure one batch; ``add`` then joins it to the set.

        Args:
            guidance: The terms.
            forward: Forward of the batch, of its annotated explained rows only.
            annotated: Whether there are any; without, only the task counts.
            real: Number of leading images that do not merely fill up the last batch of a process.

        Returns:
            The scalar loss of the real images; 0 where there are none.
        """
        self._weights = dict(guidance)
        columns, loss = [], torch.zeros((), device=forward.logits().device)
        for name, term in guidance.items():
            of_term = loss.new_zeros(forward.images, 4)
            if name == "task" or annotated:
                of_term = _by_image(name, term, forward)
            if term.reduction == "sum":
                of_term[:, _VALUE] = of_term[:real, _VALUE].sum()
            columns.append(of_term)
            if real:
                loss = loss + term.weight * _mean(term, of_term[:real])
        self._measured = torch.cat(columns, 1), loss
        return loss

    @property
    def measured(self) -> bool:
        """Whether a batch was measured and not yet added."""
        return self._measured is not None

    def add(self, loss: Tensor, gather: Callable[[Tensor], Tensor]) -> None:
        """Add the batch measured last.

        Args:
            loss: The scalar that a trainer takes for its loss; what a subclass added to it counts for each of its images.
            gather: Joins tensors (images, columns) over processes, without the rows that fill up the last batch.
        """
        assert self._measured is not None
        table, own = self._measured
        self._measured = None
        more = torch.where(own.isfinite(), loss.to(own.dtype) - own, 0)
        self._tables.append(gather(torch.cat([table, more.expand(len(table), 1)], 1)))

    def compute(self, finite_only: bool = False) -> dict[str, float]:
        """The figures of the set, and forget it; empty where nothing was added.

        Args:
            finite_only: Leave images whose loss is not finite out of "loss", as Trainer's ``logging_nan_inf_filter`` says.

        Returns:
            "loss", the weighted sum of the terms; "loss/<term>", unweighted, and "undefined_share/<term>" for terms on
            attributions. A mean over explained rows is left out where the set has none that count.
        """
        if not self._tables:
            return {}
        table, terms = torch.cat(self._tables).cpu().double(), self._weights
        self.reset()
        finite = table.isfinite().all(1)
        kept = table[finite] if finite_only and finite.any() else table
        figures = {"loss": float(kept[:, -1].mean())}
        for place, (name, term) in enumerate(terms.items()):
            columns = slice(4 * place, 4 * place + 4)
            figures["loss"] += term.weight * float(_mean(term, kept[:, columns]))
            counts = table[:, columns].sum(0)
            if term.reduction != "rows" or counts[_COUNT]:
                figures[f"loss/{name}"] = float(_mean(term, table[:, columns]))
            if counts[_MAPS]:
                figures[f"undefined_share/{name}"] = float(counts[_UNDEFINED] / counts[_MAPS])
        return figures


def _by_image(name: str, term: Term, forward: Forward) -> Tensor:
    """The columns of a term, (images, 4)."""
    values, rows = (part.detach().float() for part in counted(term.objective, forward))
    none = torch.zeros_like(rows)
    maps = (none, none)
    if isinstance(term.objective, AttributionObjective):
        maps = (undefined(term.objective, forward).float(), forward.annotated)
    stacked = torch.stack([values, rows, *maps], 1)
    if name == "task" or len(rows) != len(forward.row):  # one number for each image already
        return stacked
    image = torch.tensor(forward.row, dtype=torch.long, device=stacked.device)
    return stacked.new_zeros(forward.images, 4).index_add_(0, image, stacked)


def _mean(term: Term, table: Tensor) -> Tensor:
    """What ``loss/<term>`` is over the images of a table, whose values with "sum" are sums over batches."""
    value, count = table[:, _VALUE].sum(), table[:, _COUNT].sum()
    return value / count.clamp_min(1e-12) if term.reduction == "rows" else value / len(table)
