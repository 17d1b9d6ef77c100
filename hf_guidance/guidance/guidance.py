"""Guidance: named, weighted terms, which turn a Forward into the loss of a step and one log entry per term."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.common.whole_file import whole_file
from hf_guidance.forward import Forward
from hf_guidance.guidance.serialization import from_plain, to_plain
from hf_guidance.guidance.trainer_task import TrainerTask
from hf_guidance.objectives import AttributionObjective, Objective, TaskLoss
from hf_guidance.views import Needs
from hf_guidance.views.layers import is_recorded

GUIDANCE_FILE = "guidance.json"
_REDUCTIONS = ("batch", "rows", "sum")


@dataclass(frozen=True)
class Term:
    """An objective and how it enters the loss: ``weight * reduce_r(rows_r * loss_r)``.

    Args:
        objective: The formula, with one value per explained row.
        weight: Factor of the reduced formula, >= 0.
        reduction: "batch" divides the sum by the number of images in the batch and stays exact under gradient accumulation
            and data parallelism. "rows" divides by the explained rows that count: a mean over the annotated rows in the
            batch of this device. "sum" does not divide, as the code of arXiv 2303.11932: ``weight_rows = weight_sum * mean
            number of annotated rows in a batch``.

    Raises:
        ValueError: Negative or non-finite weight, unknown reduction, or an ``objective`` that is not an Objective.
    """

    objective: Objective
    weight: float = 1.0
    reduction: str = "batch"

    def __post_init__(self) -> None:
        if not isinstance(self.objective, Objective):
            raise ValueError(f"Term(objective={self.objective!r}): give an Objective, for example Energy(GradCAM()).")
        if not isinstance(self.weight, int | float) or not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"Term(weight={self.weight!r}): give a finite weight >= 0.")
        check_choice("reduction", self.reduction, _REDUCTIONS, self)


class Guidance(Mapping[str, Term]):
    """The terms of a training loss by name.

    The task loss is a term too: "task", a TaskLoss over every image unless given. The other terms count
    annotated explained rows.

    Args:
        terms: Name to Term, or to an Objective, which stands for Term(objective).
        **named: Further terms, as keywords.

    Raises:
        ValueError: A value is neither Term nor Objective, or a name is empty or holds a slash.

    Example:
        >>> Guidance(energy=Term(Energy(GradCAM(layer="final")), weight=0.5))
    """

    def __init__(self, terms: Mapping[str, Term | Objective] | None = None, **named: Term | Objective) -> None:
        given = {**(terms or {}), **named}
        for name in given:
            if not name or "/" in name:
                raise ValueError(
                    f"term name {name!r}: give a name without slash; it becomes the log entry loss/<name>."
                )
            if not isinstance(given[name], Term | Objective):
                raise ValueError(f"term {name!r} is {given[name]!r}: give an Objective, for example Energy(GradCAM()).")
        self._terms = {"task": Term(TaskLoss())} | {
            name: term if isinstance(term, Term) else Term(term) for name, term in given.items()
        }

    def __getitem__(self, name: str) -> Term:
        return self._terms[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)

    def __repr__(self) -> str:
        return f"Guidance({self._terms!r})"

    @property
    def on_attributions(self) -> dict[str, Term]:
        """The terms that differentiate attributions."""
        return {name: t for name, t in self.items() if isinstance(t.objective, AttributionObjective)}

    @property
    def guided(self) -> dict[str, Term]:
        """The terms besides the task, which count annotated explained rows, whether they differentiate or not."""
        return {name: term for name, term in self.items() if name != "task"}

    @property
    def differentiates(self) -> bool:
        """Whether some term reads a layer, so that second derivatives may be taken."""
        return any(is_recorded(layer) for _, layer in self.needs())

    def needs(self, annotated: bool = True) -> Needs:
        """What a Forward must provide: the needs of all terms, or only of the task where no explained row is annotated."""
        terms = self._terms.values() if annotated else [self._terms["task"]]
        return Needs(need for term in terms for need in Needs(term.objective.needs()))

    def __call__(self, annotated: Forward | None, rest: Forward | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a step.

        Args:
            annotated: Forward of the images with annotated explained rows; None where the batch has none. It may hold images
                and explained rows without annotation too: they count in the task only.
            rest: Forward of the other images, if they have a separate one; only the task reads it.

        Returns:
            The scalar loss, and the detached scalars "loss/<term>" (unweighted) and, for terms on attributions,
            "undefined_share/<term>": the share of annotated rows whose map has no positive entry. Where nothing is
            annotated, terms with reduction "batch" or "sum" report 0, and those with "rows" report nothing, for there is no
            mean.
        """
        forwards = [forward for forward in (annotated, rest) if forward is not None]
        images = sum(forward.images for forward in forwards)
        total, logs = torch.zeros((), device=forwards[0].logits().device), {}
        for name, term in self.items():
            readers = forwards if name == "task" else [f for f in (annotated,) if f is not None]
            value = _reduced(term, readers, images) if readers else torch.zeros_like(total)
            total = total + term.weight * value
            if readers or term.reduction != "rows":
                logs[f"loss/{name}"] = value.detach()
        if annotated is not None:
            for name, term in self.on_attributions.items():
                logs[f"undefined_share/{name}"] = _undefined_share(term.objective, annotated)
        return total, logs

    def to_dict(self) -> dict[str, Any]:
        """Plain types: for every term its type and the fields that differ from the defaults."""
        return {name: to_plain(term, name) for name, term in self.items()}

    def to_json(self) -> str:
        """The text of guidance.json."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], types: Mapping[str, type] | None = None) -> Guidance:
        """Rebuild from ``to_dict``.

        Args:
            plain: Term name to plain types.
            types: User-defined classes by name.

        Raises:
            ValueError: Unknown type or field; the message names the path, the type and the field.
        """
        if not isinstance(plain, Mapping):
            raise ValueError(f"a guidance is an object of term name to term, not {type(plain).__name__}.")
        extra = {"Term": Term, "TrainerTask": TrainerTask} | dict(types or {})
        return cls({name: from_plain(term, name, extra) for name, term in plain.items()})

    def save(self, folder: str | Path) -> None:
        """Write guidance.json into a folder; a failure leaves an earlier file as it was."""
        with whole_file(Path(folder) / GUIDANCE_FILE, shared=True) as draft:
            draft.write_text(self.to_json())

    @classmethod
    def load(cls, folder: str | Path, types: Mapping[str, type] | None = None) -> Guidance:
        """Read guidance.json from a folder.

        Raises:
            ValueError: No such file, or it does not describe a guidance.
        """
        file = Path(folder) / GUIDANCE_FILE
        if not file.is_file():
            raise ValueError(f"{file} does not exist; give the folder of a checkpoint that GuidedTrainer saved.")
        try:
            plain = json.loads(file.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{file} is not JSON: {error}") from error
        return cls.from_dict(plain, types)


def smoothed(guidance: Guidance, factor: float) -> Guidance:
    """The same guidance with label smoothing in its task, unless the task smooths already.

    Raises:
        ValueError: The task is not a TaskLoss, so it cannot smooth labels.
    """
    task = guidance["task"]
    if not isinstance(task.objective, TaskLoss):
        raise ValueError(
            f"label_smoothing_factor={factor} with the task {type(task.objective).__name__}, which does not smooth labels; "
            "set label_smoothing_factor=0."
        )
    if task.objective.label_smoothing:
        return guidance
    return Guidance(
        {**guidance, "task": Term(replace(task.objective, label_smoothing=factor), task.weight, task.reduction)}
    )


def counted(objective: Objective, forward: Forward) -> tuple[Tensor, Tensor]:
    """The loss of every row times how much the row counts, and how much it counts: (rows,) each, both 0 where it does not."""
    rows = objective.rows(forward)
    # torch.where, because 0 * NaN is NaN: a row that does not count must not reach the sum.
    return torch.where(rows > 0, rows * objective(forward), 0), rows


def undefined(objective: AttributionObjective, forward: Forward) -> Tensor:
    """1 for annotated rows whose map has no positive entry, else 0, (rows,)."""
    maps = forward.attribution(objective.attribution).detach().flatten(1)
    return (maps.clamp_min(0).sum(1) < 1e-7) * forward.annotated


def _reduced(term: Term, forwards: list[Forward], images: int) -> Tensor:
    total = torch.zeros((), device=forwards[0].logits().device)
    count = torch.zeros((), device=total.device)
    for forward in forwards:
        values, rows = counted(term.objective, forward)
        total = total + values.sum()
        count = count + rows.sum()
    if term.reduction == "batch":
        return total / images
    return total / count.clamp_min(1e-12) if term.reduction == "rows" else total


def _undefined_share(objective: Objective, forward: Forward) -> Tensor:
    assert isinstance(objective, AttributionObjective)
    return undefined(objective, forward).sum() / forward.annotated.sum().clamp_min(1)
