"""Guidance: named, weighted terms, which turn a Forward into the loss of a step and one log entry per term."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from hf_guidance.common.whole_file import whole_file
from hf_guidance.forward import Forward
from hf_guidance.guidance.document import check_document, cut, parse_document, read_document, shown
from hf_guidance.guidance.serialization import NOT_BUILT, from_plain, to_plain
from hf_guidance.guidance.sharing import GUIDANCE_FILE, fetch_document, file_in, publish_text
from hf_guidance.guidance.term import Term
from hf_guidance.guidance.trainer_task import TrainerTask
from hf_guidance.guidance.weight_schedule import WeightSchedule
from hf_guidance.objectives import AttributionObjective, CaptionLoss, Objective, TaskLoss
from hf_guidance.views import Needs
from hf_guidance.views.layers import is_recorded

_LONGEST_NAME = 100


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
            if not name or "/" in name or not name.isprintable() or len(name) > _LONGEST_NAME:
                raise ValueError(
                    f"term name {name[:_LONGEST_NAME]!r}: give a printable name without slash, of at most {_LONGEST_NAME} "
                    "characters; it becomes the log entry loss/<name>."
                )
            if not isinstance(given[name], Term | Objective):
                raise ValueError(
                    f"term {name!r} is {shown(given[name])}: give an Objective, for example Energy(GradCAM())."
                )
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

    def with_terms(self, terms: Mapping[str, Term]) -> Self:
        """A copy with other terms; of the same class, which may compute the loss in a way of its own."""
        found = copy(self)
        found._terms = dict(terms)
        return found

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
        """The text of guidance.json.

        Raises:
            ValueError: A part has no public name, or the text is one that ``load`` refuses, such as more than 100 terms.
        """
        text = json.dumps(self.to_dict(), indent=2) + "\n"
        parse_document(text)
        return text

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], types: Mapping[str, type] | None = None) -> Guidance:
        """Rebuild from ``to_dict``.

        Args:
            plain: Term name to plain types.
            types: User-defined classes by name; no other class outside this library is used, and nothing is imported.

        Raises:
            ValueError: Unknown type or field, or a value that a class refuses; the message names the path, the type and the
                field. Or more, deeper or larger than a guidance is; see ``check_document``.
        """
        check_document(plain)
        extra = {"Term": Term, "TrainerTask": TrainerTask, "WeightSchedule": WeightSchedule} | dict(types or {})
        guidance = cls({name: from_plain(term, name, extra) for name, term in plain.items()})
        for name, term in guidance.items():
            try:
                Needs(term.objective.needs())
            except NOT_BUILT as error:
                raise ValueError(f"{name}: {shown(term.objective)} cannot be used: {cut(str(error), 500)}") from error
        return guidance

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
        return cls.from_dict(read_document(file_in(folder)), types)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        types: Mapping[str, type] | None = None,
    ) -> Guidance:
        """Read guidance.json from a repo of the Hub or from a folder.

        The file may be anyone's: it is checked before anything is built of it, and builds objects of this library only.

        Args:
            source: Id of a repo, as "organisation/name", or a folder.
            revision: Branch, tag or commit.
            token: Token of the Hub; by default the one that the user is logged in with.
            types: User-defined classes by name.

        Raises:
            ValueError: No such repo, revision or file; or the file does not describe a guidance: larger than 1 MB, not JSON,
                unknown types or fields, values that a class refuses, of a newer version.
            PermissionError: The token may not read the repo.
            ConnectionError: The Hub cannot be reached, and the file is not in the cache.

        Example:
            >>> guidance = Guidance.from_pretrained("org/guided-resnet")
        """
        return cls.from_dict(fetch_document(source, revision, token), types)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        private: bool | None = None,
        commit_message: str = "Upload guidance.json",
    ) -> Any:
        """Put guidance.json into a repo of the Hub as one commit; every other file of the repo stays.

        Args:
            repo_id: As "organisation/name"; the repo is made if there is none.
            revision: Branch; "main" by default.
            token: Token with the right to write; by default the one that the user is logged in with.
            private: Whether only its owners see a new repo.
            commit_message: Message of the commit.

        Returns:
            ``huggingface_hub.CommitInfo``.

        Raises:
            ValueError: A part of the guidance has no public name, the id is none, or there is no such revision.
            PermissionError: The token may not write.
            ConnectionError: The Hub cannot be reached.

        Example:
            >>> guidance.push_to_hub("org/guided-resnet")
        """
        how = {"revision": revision, "token": token, "private": private, "message": commit_message}
        return publish_text(self.to_json(), repo_id, **how)  # type: ignore[arg-type]


def smoothed(guidance: Guidance, factor: float) -> Guidance:
    """The same guidance with label smoothing in its task, unless the task smooths already.

    Raises:
        ValueError: The task has no ``label_smoothing``, as TaskLoss and CaptionLoss have, so it cannot smooth labels.
    """
    task = guidance["task"]
    if not isinstance(task.objective, TaskLoss | CaptionLoss):
        raise ValueError(
            f"label_smoothing_factor={factor} with the task {type(task.objective).__name__}, which does not smooth labels; "
            "set label_smoothing_factor=0."
        )
    if task.objective.label_smoothing:
        return guidance
    return Guidance({**guidance, "task": replace(task, objective=replace(task.objective, label_smoothing=factor))})


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
