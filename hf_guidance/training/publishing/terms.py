"""The terms of a guidance as a card tells them: what each asks for, of which map, and where the formula comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from hf_guidance.attributions import Attribution
from hf_guidance.common.card_text import code, escaped, marked_up, one_line
from hf_guidance.guidance import Guidance, Term, TrainerTask, to_plain
from hf_guidance.training.publishing.references import Source, reference_of, sources_in, summary_of


@dataclass(frozen=True)
class Method:
    """An objective or an attribution; all texts are Markdown."""

    name: str
    formula: str
    reference: str
    settings: str

    @classmethod
    def of(cls, value: Any, plain: Any) -> Method:
        """The method, and its settings that differ from the defaults.

        Args:
            value: An objective or an attribution.
            plain: As ``to_plain`` gives it.
        """
        kind = type(value)
        return cls(
            code(kind.__name__), marked_up(summary_of(kind)), escaped(reference_of(kind)), _settings(value, plain)
        )


@dataclass(frozen=True)
class TermFacts:
    """One term, as Markdown; ``attribution`` is None where it reads no map."""

    name: str
    weight: str
    reduction: str
    objective: Method
    attribution: Method | None
    layer: str
    target: str


def term_facts(guidance: Guidance) -> list[TermFacts]:
    """What the card says of every term, the task first."""
    return [_facts(name, term) for name, term in guidance.items()]


def sources_of(guidance: Guidance) -> list[Source]:
    """The papers that the terms' objectives and attributions name, each once."""
    kinds = [type(value) for term in guidance.values() for value in (term.objective, *attributions_in(term.objective))]
    found = [source for kind in kinds for source in sources_in(reference_of(kind))]
    return list({source.arxiv or source.title.lower(): source for source in reversed(found)}.values())[::-1]


def attributions_in(value: Any) -> Iterator[Attribution]:
    """The attributions that an objective holds, in its fields or in theirs."""
    if not is_dataclass(value) or isinstance(value, type):
        return
    for entry in fields(value):
        inner = getattr(value, entry.name)
        if isinstance(inner, Attribution):
            yield inner
        else:
            yield from attributions_in(inner)


def _facts(name: str, term: Term) -> TermFacts:
    objective = term.objective
    plain = to_plain(objective, name)
    read = next(attributions_in(objective), None)
    method = Method.of(objective, plain)
    if isinstance(objective, TrainerTask):
        method = Method(code(f"{objective.trainer}.task_loss"), "The trainer's own task loss.", "", "")
    return TermFacts(
        name=code(name),
        weight=_weight(term),
        reduction=code(term.reduction),
        objective=method,
        attribution=None if read is None else Method.of(read, to_plain(read, name)),
        layer="" if read is None else code(read.layer),
        target="" if read is None else code(type(read.target).__name__),
    )


def _weight(term: Term) -> str:
    schedule = term.schedule
    if schedule is None:
        return f"{term.weight:g}"
    share = f"{100 * schedule.begin:g} % to {100 * schedule.end:g} %"
    when = share if schedule.begin < schedule.end else f"after {100 * schedule.end:g} %"
    return f"{term.weight:g}, times {schedule.first:g} to {schedule.last:g} ({when} of training)"


def _settings(value: Any, plain: dict[str, Any]) -> str:
    """Fields that differ from the defaults, but those that the card names apart."""
    named = {
        "type",
        "layer",
        "target",
        *(f.name for f in fields(value) if isinstance(getattr(value, f.name), Attribution)),
    }
    shown = (f"{name}={one_line(_short(given), 60)}" for name, given in plain.items() if name not in named)
    return ", ".join(map(code, shown))


def _short(given: Any) -> str:
    if isinstance(given, dict) and len(given) == 1:
        return str(next(iter(given.values())))  # {"type": "MaxAbs"}, {"function": "negative_ones"}
    return json.dumps(given)
