"""The output folder of run_model_guidance.py: whose it is, what its runs left there, and the pictures of their fronts."""

import json
from pathlib import Path
from typing import Any

from guidance_grid import PLAIN
from guided_classifiers import AXES

from hf_guidance import Sweep
from hf_guidance.common.whole_file import whole_file
from hf_guidance.evaluation.analysis import pareto_figure

METRICS = ("f1", "epg", "attribution_iou")


def folder_of(cell: dict[str, Any], output_dir: str) -> Path:
    return Path(output_dir) / "cells" / "-".join(f"{cell[axis]}" for axis in AXES)


def read_record(file: Path, names: tuple[str, ...], fix: str) -> dict[str, Any]:
    """A JSON file that a run left.

    Raises:
        ValueError: It is gone or damaged; says the fix.
    """
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}); {fix}.") from error
    if not isinstance(record, dict) or set(names) - set(record):
        raise ValueError(f"{file} holds {str(record)[:80]}, not {list(names) or 'names with values'}; {fix}.")
    return record


def claim(folder: Path, settings: dict[str, str]) -> None:
    """Take an output folder for these settings: its baselines and fronts are of no others.

    Raises:
        ValueError: It holds a grid of other settings, and names those that differ, or of settings that are not known.
    """
    file = folder / "settings.json"
    other = f"give another output_dir, or remove {folder}"
    if not file.is_file() and any((folder / made).exists() for made in ("baselines", "cells")):
        raise ValueError(f"{folder} holds a grid, but no {file.name} that says of which settings; {other}.")
    known = read_record(file, (), other) if file.is_file() else settings
    if differ := sorted(name for name in known | settings if known.get(name) != settings.get(name)):
        raise ValueError(f"{folder} holds a grid with other values of {differ}; give another output_dir, or remove it.")
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as draft:
        draft.write_text(json.dumps(settings, indent=1) + "\n")


def draw_fronts(rows: list[dict[str, Any]], sweep: Sweep, output_dir: str) -> None:
    """A picture for each model, attribution and layer, few and coarse boxes apart: the validation points of every loss.

    Weights and seeds are drawn together.

    Raises:
        ValueError: The row of a baseline or the record of a front is damaged.
    """
    groups: dict[tuple[str, ...], dict[str, list[dict[str, float]]]] = {}
    base: dict[tuple[str, ...], dict[str, float]] = {}
    for row in rows:
        kind = (row["model"], row["attribution"], row["layer"])
        run = sweep.fingerprint({axis: row[axis] for axis in AXES})
        fix = f"remove the row of run {run} from {sweep.file}, and the next call does it again"
        if row["loss"] == "baseline":
            base.setdefault(kind, _metrics(row, "val_", int | float, sweep.file, fix))
            continue
        other = [axis for axis, plain in PLAIN.items() if row[axis] != plain]
        kind, extra = (*kind, *other), [f"{axis} {row[axis]}" for axis in other]
        file = folder_of(row, output_dir) / "pareto" / "pareto.json"
        points = read_record(file, ("points",), fix)["points"]
        points = [
            _metrics(x, "eval_", int | float | None, file, fix)
            for x in (points if isinstance(points, list) else [str(points)])
        ]
        kept = [point for point in points if None not in point.values()]
        if kept:
            groups.setdefault(kind, {}).setdefault(", ".join([row["loss"], *extra]), []).extend(kept)
    for kind, runs in groups.items():
        path = Path(output_dir) / f"fronts-{'-'.join(kind)}.png"
        pareto_figure(runs, path, baseline=base.get(kind[:3]), title=" ".join(kind))


def _metrics(values: Any, prefix: str, kind: Any, file: Path, fix: str) -> dict[str, Any]:
    found = {name: values.get(prefix + name, "nothing") if isinstance(values, dict) else values for name in METRICS}
    if wrong := [f"{prefix}{name} is {value!r}" for name, value in found.items() if not isinstance(value, kind)]:
        raise ValueError(f"{file}: {', '.join(wrong)} where a number is needed; {fix}.")
    return found
