"""The sections of a page, as values for its template. What was not measured is a sentence in its section."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from hf_guidance.apps.report.arms import Arm
from hf_guidance.apps.report.cells import cell_of, change_of, ends_of
from hf_guidance.apps.report.charts import COLOURS, Series, chart, interval_chart
from hf_guidance.apps.report.files import read_picture
from hf_guidance.evaluation.analysis.pareto import pareto_indices
from hf_guidance.guidance.expression import expression

MOST_ARMS = COLOURS  # in a chart, and with pictures
_FAR = 1e30  # no metric is farther from 0
_MAIN = 6  # metrics that are shown first
# Figures in a log, of training and of evaluation; before them may be the name of an evaluation set, after "/" is a term.
TERM_LOSSES = re.compile(r"(^|_)loss/")
DEAD_MAPS = re.compile(r"(^|_)undefined_share(/|$)")  # of terms, as "undefined_share/energy", and of metrics
_COMPARED = ("model", "attribution", "layer", "grid")  # what an arm shares with the unguided one it is compared with


def metric_names(arms: Sequence[Arm], given: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The metrics to show first, and the others.

    Raises:
        ValueError: A metric that no run has; lists those there are.
    """
    found = list(dict.fromkeys(name for arm in arms for run in arm.runs for name in run.metrics))
    if given is not None:
        if not given:
            raise ValueError(f"metrics={list(given)} names none; name some of {found or 'none'}, or leave metrics out.")
        if unknown := [name for name in given if name not in found]:
            raise ValueError(f"metrics={unknown} were measured in no run; there are {found or 'none'}.")
        return list(given), [name for name in found if name not in given]
    main = [name for name in found if "loss" not in name and "undefined_share" not in name] or found
    main = main[:_MAIN]
    return main, [name for name in found if name not in main]


def arrow(metric: str) -> str:
    """Which way a metric is better, for its heading."""
    from hf_guidance.training.best_model import higher_is_better  # imported here: it loads the trainer

    higher = higher_is_better(f"eval_{metric.removeprefix('eval_').removeprefix('test_')}")
    return "" if higher is None else "↑" if higher else "↓"


def overview(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """A line for each arm: what it is, its seeds, its folders, and what about it is unclear."""
    return [
        {
            "label": arm.label,
            "kind": {"control": "control", "unknown": "guidance not recorded"}.get(arm.kind, arm.kind),
            "colour": number % COLOURS,
            "runs": len(arm.runs),
            "seeds": ", ".join(map(str, arm.seeds)) or "not recorded",
            "share": _shown_share(arm),
            "rows": _same(run.rows for run in arm.runs),
            "terms": [
                f"{name}: {expression(term)}" for name, term in (arm.runs[0].guidance or {}).items() if name != "task"
            ],
            "folders": [str(run.folder) for run in arm.runs],
            "notes": _notes(arm),
        }
        for number, arm in enumerate(arms)
    ]


def metrics(arms: Sequence[Arm], names: Sequence[str], level: float) -> dict[str, Any]:
    """Values of the arms with intervals, their differences to the unguided arm, and charts."""
    compared = [(arm, other) for arm in arms if (other := reference(arm, arms)) is not None]
    return {
        "names": [{"name": name, "arrow": arrow(name)} for name in names],
        "values": [{"label": arm.label, "cells": [cell_of(arm, name, level) for name in names]} for arm in arms],
        "differences": [
            {"label": f"{arm.label} − {other.label}", "cells": [change_of(arm, other, name, level) for name in names]}
            for arm, other in compared
        ],
        "charts": [{"name": name, "svg": _interval_chart(arms, name, level)} for name in names] if _few(arms) else [],
        "single": any(len(arm.runs) == 1 for arm in arms),
    }


def reference(arm: Arm, arms: Sequence[Arm]) -> Arm | None:
    """The unguided arm that an arm is compared with: of the same model, and trained as long where there is a choice."""
    own = arm.runs[0].identity
    if arm.kind == "unguided":
        return None
    fitting = [
        other
        for other in arms
        if other.kind == "unguided"
        and all(
            own.get(n) == other.runs[0].identity.get(n) for n in _COMPARED if n in own and n in other.runs[0].identity
        )
    ]
    trained = [other for other in fitting if other.runs[0].identity.get("loss") != "baseline"]
    return next(iter(trained or fitting), None)


def maps(arms: Sequence[Arm]) -> dict[str, Any]:
    """The first and the last panel of a run of each arm, and other pictures in the folders."""
    panels, others = [], []
    for arm in arms[:MOST_ARMS]:
        run = next((run for run in arm.runs if run.panels), None)
        if run is not None:
            steps = [min(run.panels), max(run.panels)] if len(run.panels) > 1 else list(run.panels)
            shown = [{"step": step, "picture": read_picture(run.panels[step])} for step in steps]
            panels.append({"label": arm.label, "run": run.name, "shown": shown, "count": len(run.panels)})
        for run in arm.runs[:1]:
            others += [{"label": arm.label, "picture": read_picture(file)} for file in run.pictures[:4]]
    without = [arm.label for arm in arms[:MOST_ARMS] if not any(run.panels for run in arm.runs)]
    return {"panels": panels, "others": others, "without": without, "left_out": max(0, len(arms) - MOST_ARMS)}


def controls(arms: Sequence[Arm], names: Sequence[str], level: float) -> list[dict[str, Any]]:
    """Every guided arm beside each control of the same guidance: what of its effect is due to looking right."""
    found = []
    for control in (arm for arm in arms if arm.kind == "control"):
        guided = [arm for arm in arms if arm.kind == "guided"]
        alike = [arm for arm in guided if _guidance(arm) == _guidance(control) and arm.share in (control.share, None)]
        for arm in alike or guided:
            cells = [
                {
                    "name": name,
                    "guided": cell_of(arm, name, level),
                    "control": cell_of(control, name, level),
                    "difference": change_of(arm, control, name, level),
                }
                for name in names
            ]
            found.append({"guided": arm.label, "control": control.label, "lines": cells, "alike": bool(alike)})
    return found


def cost(arms: Sequence[Arm], names: Sequence[str], level: float) -> dict[str, Any]:
    """How many rows were annotated, and how the metrics change with the share."""
    guided = [arm for arm in arms if arm.kind == "guided" and arm.share is not None]
    families: dict[str, list[Arm]] = {}
    for arm in guided:
        identity = {n: v for n, v in arm.runs[0].identity.items() if n != "fraction"}
        families.setdefault(json.dumps([_guidance(arm), identity], sort_keys=True, default=str), []).append(arm)
    several = [family for family in families.values() if len({arm.share for arm in family}) > 1]
    charts = []
    for name in names if several else ():
        series = []
        for number, family in enumerate(several[:MOST_ARMS]):
            zero = reference(family[0], arms)
            line = sorted([*([zero] if zero is not None else []), *family], key=_share)
            intervals = [(arm, found) for arm in line if (found := arm.interval(name, level)) is not None]
            points = [(_share(arm), found.mean) for arm, found in intervals]
            series.append(Series(family[0].label, number, points, [ends_of(f) for _, f in intervals], "front"))
        charts.append({"name": name, "svg": chart(series, "annotated rows", name, percent=True)})
    lines = [
        {
            "label": arm.label,
            "share": _percent(arm.share),
            "rows": _annotated_rows(arm),
            "cells": [cell_of(arm, name, level) for name in names],
        }
        for arm in guided
    ]
    return {
        "lines": lines,
        "charts": [each for each in charts if each["svg"]],
        "one_share": bool(lines) and not several,
        "unknown": [arm.label for arm in arms if arm.kind == "guided" and arm.share is None],
    }


def fronts(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """The evaluated models of each arm in planes of the first metric of its front and each other, with their front."""
    groups: dict[tuple[str, ...], list[tuple[int, Arm]]] = {}
    for number, arm in enumerate(arms):
        for run in arm.runs:
            if run.front is not None:
                kind = tuple(map(str, run.front["metrics"]))
                if (number, arm) not in groups.setdefault(kind, []):
                    groups[kind].append((number, arm))
    found = []
    for kind, members in groups.items():
        planes = [(kind[0], up) for up in kind[1:]] or [("step", kind[0])]
        for across, up in planes:
            series = [s for number, arm in members[:MOST_ARMS] for s in _front_series(arm, number, kind, across, up)]
            if svg := chart(series, across, up):
                found.append({"name": f"{up} by {across}", "svg": svg, "left_out": max(0, len(members) - MOST_ARMS)})
    return found


def curves(arms: Sequence[Arm], kind: re.Pattern[str]) -> list[dict[str, Any]]:
    """A chart over the steps for each figure of a kind in the logs.

    Args:
        arms: The arms.
        kind: TERM_LOSSES or DEAD_MAPS.

    Returns:
        For each name: "name", "svg", "largest", the largest value of each arm, and "undefined", how many values of each arm
        are no numbers.
    """
    entries = [entry for arm in arms for run in arm.runs for entry in run.history]
    names = dict.fromkeys(name for entry in entries for name in entry if kind.search(name))
    found = []
    for name in names:
        series, largest, undefined = [], [], []
        for number, arm in enumerate(arms[:MOST_ARMS]):
            lines = [[(e["step"], e[name]) for e in run.history if name in e] for run in arm.runs]
            series += [Series(arm.label, number, points) for points in lines if points]
            values = [value for points in lines for _, value in points]
            if finite := [value for value in values if math.isfinite(value)]:
                largest.append({"label": arm.label, "value": f"{max(finite):.3g}"})
            if lost := len(values) - len(finite):
                undefined.append({"label": arm.label, "count": lost})
        if series:
            svg = chart(series, "step", name)
            found.append({"name": name, "svg": svg, "largest": largest, "undefined": undefined})
    return found


def _front_series(arm: Arm, number: int, kind: tuple[str, ...], across: str, up: str) -> Iterable[Series]:
    points = []
    for run in arm.runs:
        if run.front is not None and tuple(map(str, run.front["metrics"])) == kind:
            for point in run.front["points"]:
                pair = point.get(across), point.get(up)
                if all(isinstance(value, int | float) and -_FAR < value < _FAR for value in pair):
                    points.append((float(pair[0]), float(pair[1])))
    if points:
        best = sorted(points[index] for index in pareto_indices(points, None)) if across != "step" else sorted(points)
        yield Series(arm.label, number, points, style="pale")
        yield Series(arm.label, number, best, style="front")


def _interval_chart(arms: Sequence[Arm], name: str, level: float) -> str:
    rows = []
    for number, arm in enumerate(arms):
        found = arm.interval(name, level)
        if found is not None:
            rows.append((arm.label, number, found.mean, ends_of(found), list(arm.values(name).values())))
    return interval_chart(rows, name)


def _few(arms: Sequence[Arm]) -> bool:
    return len(arms) <= 2 * MOST_ARMS


def _guidance(arm: Arm) -> str:
    return json.dumps(arm.runs[0].guidance, sort_keys=True, default=str)


def _share(arm: Arm) -> float:
    return 0.0 if arm.kind == "unguided" else arm.share or 0.0


def _shown_share(arm: Arm) -> str:
    if arm.kind == "unguided":
        return "—"  # whatever is annotated, none of it is used
    return "not recorded" if arm.share is None else _percent(arm.share)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:g} %"


def _annotated_rows(arm: Arm) -> str:
    rows = _same(run.rows for run in arm.runs)
    return f"{round((arm.share or 0) * int(rows))} of {rows}" if rows.isdecimal() else "not recorded"


def _same(values: Iterable[Any]) -> str:
    found = {str(value) for value in values if value is not None}
    return found.pop() if len(found) == 1 else "not recorded" if not found else "differ"


def _notes(arm: Arm) -> list[str]:
    notes = []
    if twice := sorted({s for s in arm.seeds if sum(run.seed == s for run in arm.runs) > 1}):
        notes.append(f"several runs have the seed {', '.join(map(str, twice))}: they are not independent")
    if arm.differing:
        notes.append(f"its runs differ in {', '.join(arm.differing)}, too, so the interval is not of the seed alone")
    if arm.kind == "unknown":
        notes.append("its guidance is not recorded: name the arm yourself, report({'guided': [folder, ...]})")
    return notes
