"""Arms: runs that differ in their seed only, and what they measured, with intervals over the seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hf_guidance.apps.report.run import KINDS, Run
from hf_guidance.evaluation.analysis.seed_interval import SeedInterval, seed_difference, seed_interval
from hf_guidance.guidance.expression import expression


@dataclass(frozen=True)
class Arm:
    """Runs of one kind.

    Attributes:
        label: What the page calls them.
        kind: As of Run.
        runs: The runs.
    """

    label: str
    kind: str
    runs: tuple[Run, ...]

    @property
    def share(self) -> float | None:
        """Share of annotated rows, where all runs have the same."""
        shares = {run.share for run in self.runs}
        return shares.pop() if len(shares) == 1 else None

    @property
    def seeds(self) -> list[Any]:
        """The seeds that are known, sorted."""
        return sorted({run.seed for run in self.runs if run.seed is not None})

    @property
    def named(self) -> bool:
        """Whether every run has a seed of its own, so that runs of two arms can be paired."""
        return len(self.seeds) == len(self.runs)

    def values(self, metric: str) -> dict[Any, float]:
        """Seed (or number of the run, where seeds are not known) to the value, where it is defined."""
        keys = [run.seed if self.named else f"run {number}" for number, run in enumerate(self.runs)]
        found = {key: run.metrics.get(metric, math.nan) for key, run in zip(keys, self.runs, strict=True)}
        return {key: value for key, value in found.items() if math.isfinite(value)}

    def undefined(self, metric: str) -> int:
        """How many runs measured a metric whose value is no number."""
        return sum(metric in run.metrics and not math.isfinite(run.metrics[metric]) for run in self.runs)

    def interval(self, metric: str, level: float) -> SeedInterval | None:
        """The mean of a metric over the seeds and its interval; None where no run has it."""
        values = self.values(metric)
        return seed_interval(list(values.values()), level) if values else None

    def difference(self, other: Arm, metric: str, level: float) -> SeedInterval | None:
        """How much larger a metric is than in another arm; None where one of them lacks it."""
        own, theirs = self.values(metric), other.values(metric)
        return seed_difference(own, theirs, level) if own and theirs else None

    @property
    def differing(self) -> list[str]:
        """Settings in which the runs differ though they are of one arm."""
        names = {name for run in self.runs for name in run.settings}
        return sorted(n for n in names if len({json.dumps(run.settings.get(n), default=str) for run in self.runs}) > 1)


def arms_of(runs: Sequence[Run], controls: Collection[str] = ()) -> list[Arm]:
    """Group runs by what they were trained with; the unguided come first, controls last.

    Args:
        runs: The runs. Those whose guidance is not known are an arm each.
        controls: Folders of runs that are controls, or labels of arms as the page has them, beside those that say so
            themselves.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        run = replace(run, control=True) if str(run.folder) in controls else run
        known = [run.guidance, run.kind, None if run.share is None else round(run.share, 6), dict(run.identity)]
        key = str(run.folder) if run.guidance is None else json.dumps(known, sort_keys=True, default=str)
        groups.setdefault(key, []).append(run)
    found = [Arm(_label(group[0]), group[0].kind, tuple(group)) for group in groups.values()]
    told = [replace(arm, kind="control") if arm.label in controls else arm for arm in _told_apart(found)]
    return sorted(told, key=lambda arm: KINDS.index(arm.kind))


def named_arms(given: Mapping[str, Sequence[Run]], controls: Collection[str] = ()) -> list[Arm]:
    """Arms as the user names them.

    Args:
        given: Label to runs.
        controls: Labels of arms that are controls, or folders of their runs.

    Raises:
        ValueError: A label without runs.
    """
    arms = []
    for label, runs in given.items():
        if not runs:
            raise ValueError(f"runs: {label!r} names no run; give at least one output_dir, or leave it out.")
        kinds = {run.kind for run in runs}
        control = label in controls or any(str(run.folder) in controls for run in runs)
        arms.append(Arm(label, "control" if control else kinds.pop() if len(kinds) == 1 else "unknown", tuple(runs)))
    return arms


def _label(run: Run) -> str:
    if "grid" in run.identity:
        return f"{run.name}{' at random places' if run.kind == 'control' else ''}"
    if run.guidance is None:
        return run.name
    terms = " + ".join(name for name in run.guidance if name != "task")
    return {"unguided": "unguided", "guided": terms, "control": f"{terms}, control"}[run.kind]


def _told_apart(arms: list[Arm]) -> list[Arm]:
    """The arms with labels that differ, by what differs."""
    for more in (_share, _weights, _identity):
        labels = [arm.label for arm in arms]
        arms = [
            replace(arm, label=", ".join(filter(None, (arm.label, more(arm))))) if labels.count(arm.label) > 1 else arm
            for arm in arms
        ]
    seen: dict[str, int] = {}
    for arm in arms:
        seen[arm.label] = seen.get(arm.label, 0) + 1
    counted: dict[str, int] = {}
    found = []
    for arm in arms:
        number = counted[arm.label] = counted.get(arm.label, 0) + 1
        found.append(replace(arm, label=f"{arm.label} ({number})") if seen[arm.label] > 1 else arm)
    return found


def _share(arm: Arm) -> str:
    return "" if arm.share is None or arm.kind == "unguided" else f"{100 * arm.share:g} % annotated"


def _weights(arm: Arm) -> str:
    terms = [
        term for name, term in (arm.runs[0].guidance or {}).items() if name != "task" and isinstance(term, Mapping)
    ]
    return ", ".join(f"weight {expression(term.get('weight', 1.0))}" for term in terms)


def _identity(arm: Arm) -> str:
    return " ".join(str(value) for name, value in arm.runs[0].identity.items() if name != "grid")
