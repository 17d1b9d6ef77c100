"""report: one HTML page about one or several trainings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_guidance.apps.report import sections
from hf_guidance.apps.report.arms import Arm, arms_of, named_arms
from hf_guidance.apps.report.grid import grid_runs, is_grid
from hf_guidance.apps.report.run import Run, is_run
from hf_guidance.common.progress import progress
from hf_guidance.common.whole_file import whole_file

PathLike = str | Path
_TEMPLATE = "page.html.j2"


def report(
    runs: PathLike | Sequence[PathLike] | Mapping[str, PathLike | Sequence[PathLike]],
    output: PathLike = "report.html",
    *,
    title: str = "Guided training",
    controls: PathLike | Collection[PathLike] = (),
    metrics: str | Sequence[str] | None = None,
    level: float = 0.95,
) -> Path:
    """Write one HTML page about one or several runs: metrics, maps, controls, annotation cost, fronts and losses.

    Runs with the same guidance, annotated share and model are one *arm*, whatever their seeds; of several seeds every metric
    has Student's t interval, of one run none, and the page says so. Arms are compared with the unguided one, seed by seed
    where both have the same seeds. What a run did not measure or record is said in its place on the page.

    The page holds its pictures and needs no network; it has no scripts. It is written whole or not at all. Only files that
    `Run` names are read; nothing is unpickled. For maps train with an AttributionPanel, for fronts with ParetoCheckpoints.

    Args:
        runs: The output_dir of a run, of a grid (``run_grid``), or a folder of runs; or several of these; or label to one or
            several of them, to name the arms yourself.
        output: The file to write.
        title: The heading.
        controls: Which runs are controls (boxes at random places, random importance), where the runs do not say so
            themselves, as those of a GuidedTrainer do: one or several of their folders, or of the labels of their arms.
        metrics: Name or names of the metrics to show first, as "eval_epg"; by default the first six that are no losses.
        level: Level of the intervals.

    Returns:
        The file.

    Raises:
        ValueError: A folder without runs, a damaged file (names it and the fix), a metric that no run has, a control that is
            none of the runs, or a level outside (0, 1).

    Example:
        >>> report(["runs/unguided-0", "runs/unguided-1", "runs/guided-0", "runs/guided-1"], "report.html")
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}; give a level between 0 and 1, as 0.95.")
    arms = _arms(runs, [str(control) for control in _several(controls)])
    shown = None if metrics is None else [str(name) for name in _several(metrics)]
    page = _environment().get_template(_TEMPLATE).render(_context(arms, title, shown, level))
    with whole_file(output) as draft:
        draft.write_text(page, encoding="utf-8", errors="backslashreplace")  # names of folders may be bytes of any kind
    return Path(output)


def _several(value: Any) -> list[Any]:
    return [value] if isinstance(value, str | Path) else list(value)


def _arms(runs: Any, given_controls: Sequence[str]) -> list[Arm]:
    # As they were given, for labels; and as a folder is written.
    controls = {text for control in given_controls for text in (control, str(Path(control)))}
    if isinstance(runs, Mapping):
        if not runs:
            raise ValueError("runs is empty; give at least one label with the output_dir of a run.")
        given = {str(label): _read(folders) for label, folders in runs.items()}
        arms = named_arms(given, controls)
    else:
        arms = arms_of(_read(runs), controls)
    known = {str(run.folder) for arm in arms for run in arm.runs} | {arm.label for arm in arms}
    if unknown := [control for control in given_controls if not {control, str(Path(control))} & known]:
        raise ValueError(f"controls={unknown} are none of the runs; name folders, or labels, of {sorted(known)[:12]}.")
    return arms


def _read(folders: Any) -> list[Run]:
    given = [folders] if isinstance(folders, str | Path) else list(folders)
    if not given:
        raise ValueError("runs is empty; give the output_dir of at least one run.")
    found: dict[str, Run] = {}
    for folder in map(Path, given):
        if is_grid(folder):
            read = grid_runs(folder)
        elif is_run(folder):
            read = [Run.read(folder)]
        else:
            inside = sorted(place for place in folder.iterdir() if is_run(place)) if folder.is_dir() else []
            # Run.read says what is missing where there is none.
            read = [Run.read(place) for place in progress(inside or [folder], "reading runs")]
        found |= {f"{run.folder}\n{run.name}\n{run.seed}": run for run in read}
    return list(found.values())


def _context(arms: Sequence[Arm], title: str, metrics: Sequence[str] | None, level: float) -> dict[str, Any]:
    main, others = sections.metric_names(arms, metrics)
    results = [
        {"label": arm.label, "table": table} for arm in arms for run in arm.runs if (table := _table(run.results))
    ]
    return {
        "title": title,
        "percent": f"{100 * level:g}",
        "arms": sections.overview(arms),
        "most_arms": sections.MOST_ARMS,
        "metrics": sections.metrics(arms, main, level) if main else None,
        "others": sections.metrics(arms, others, level) if others else None,
        "unguided": any(arm.kind == "unguided" for arm in arms),
        "results": results,
        "maps": sections.maps(arms),
        "controls": sections.controls(arms, main, level),
        "has_control": any(arm.kind == "control" for arm in arms),
        "cost": sections.cost(arms, main, level),
        "fronts": sections.fronts(arms),
        "losses": sections.curves(arms, sections.TERM_LOSSES),
        "dead": sections.curves(arms, sections.DEAD_MAPS),
    }


def _table(results: Any) -> dict[str, Any] | None:
    """The results.json of an example, {arm: {metric: {"mean": .., "std": ..}}}, as names and lines; None for others."""
    if not isinstance(results, Mapping) or not results:
        return None
    try:
        names = list(dict.fromkeys(name for row in results.values() for name in row))
        cells = {
            arm: [f"{row[n]['mean']:.3f} ± {row[n]['std']:.3f}" if n in row else "not measured" for n in names]
            for arm, row in results.items()
        }
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return None
    return {"names": names, "lines": cells}


def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # imported here: only a report needs it

    loader = PackageLoader("hf_guidance.apps.report", ".")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
