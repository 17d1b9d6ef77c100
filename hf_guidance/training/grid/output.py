"""The output folder of a grid: whose it is, what its runs left there, and the pictures of their fronts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_guidance.common.text_files import read_json
from hf_guidance.common.whole_file import whole_file
from hf_guidance.evaluation.analysis.pareto_figure import pareto_figure
from hf_guidance.training.grid.cells import AXES, PLAIN
from hf_guidance.training.sweep import Sweep

_METRICS = ("f1", "epg", "attribution_iou")


def folder_of(cell: Mapping[str, Any], output_dir: str) -> Path:
    """Give the folder of a cell, named by its values.

    Args:
        cell: A cell, or a line of the CSV that holds its values.
        output_dir: The output folder of the grid.
    """
    return Path(output_dir) / "cells" / "-".join(f"{cell[axis]}" for axis in AXES)


def read_record(file: Path, names: tuple[str, ...], fix: str) -> dict[str, Any]:
    """Read a JSON file that a run left.

    Args:
        file: The file.
        names: Names that it must hold.
        fix: What a user can do about a damaged file, for the error.

    Returns:
        Its values by name.

    Raises:
        ValueError: The file is gone or damaged; says the fix.
    """
    try:
        record = read_json(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}); {fix}.") from error
    if not isinstance(record, dict) or set(names) - set(record):
        raise ValueError(f"{file} holds {str(record)[:80]}, not {list(names) or 'names with values'}; {fix}.")
    return record


def claim(folder: Path, settings: Mapping[str, str]) -> None:
    """Take an output folder for these settings: its baselines and fronts are of no others.

    Args:
        folder: The output folder; made if it does not exist.
        settings: Options as text, by name; written to settings.json in the folder.

    Raises:
        ValueError: The folder holds a grid of other settings (names those that differ), or of settings that are not known.
    """
    file = folder / "settings.json"
    other = f"give another output_dir, or remove {folder}"
    if not file.is_file() and any((folder / made).exists() for made in ("baselines", "cells")):
        raise ValueError(f"{folder} holds a grid, but no {file.name} that says of which settings; {other}.")
    known = read_record(file, (), other) if file.is_file() else settings
    if differ := sorted(name for name in {**known, **settings} if known.get(name) != settings.get(name)):
        raise ValueError(f"{folder} holds a grid with other values of {differ}; give another output_dir, or remove it.")
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as draft:
        draft.write_text(json.dumps(settings, indent=1) + "\n")


def draw_fronts(rows: Sequence[Mapping[str, Any]], sweep: Sweep, output_dir: str) -> None:
    """Draw the validation points of every loss: a picture for each model, attribution and layer.

    Few, coarse and moved boxes have pictures of their own; weights and seeds are drawn together.

    Args:
        rows: The lines of the CSV, as `run_grid` returns them.
        sweep: The sweep that gave them; knows how each run is called.
        output_dir: Where the pictures go, as fronts-<model>-<attribution>-<layer>.png.

    Raises:
        ValueError: The line of a baseline or the record of a front is damaged.
    """
    groups: dict[tuple[str, ...], dict[str, list[dict[str, float]]]] = {}
    base: dict[tuple[str, ...], dict[str, float]] = {}
    for row in rows:
        kind: tuple[str, ...] = (row["model"], row["attribution"], row["layer"])
        run = sweep.fingerprint({axis: row[axis] for axis in AXES})
        fix = f"remove the line of run {run} from {sweep.file}, and the next call does it again"
        if row["loss"] == "baseline":
            base.setdefault(kind, _metrics(row, "val_", int | float, sweep.file, fix))
            continue
        points = _points(folder_of(row, output_dir) / "pareto" / "pareto.json", fix)
        if points:
            other = [axis for axis, plain in PLAIN.items() if row[axis] != plain]
            label = ", ".join([row["loss"], *(f"{axis} {row[axis]}" for axis in other)])
            groups.setdefault((*kind, *other), {}).setdefault(label, []).extend(points)
    for kind, runs in groups.items():
        path = Path(output_dir) / f"fronts-{'-'.join(kind)}.png"
        pareto_figure(runs, path, baseline=base.get(kind[:3]), title=" ".join(kind))


def _points(file: Path, fix: str) -> list[dict[str, float]]:
    """The points of a front whose metrics are all defined."""
    points = read_record(file, ("points",), fix)["points"]
    if not isinstance(points, list):
        points = [str(points)]  # refused below, by what it is
    found = [_metrics(point, "eval_", int | float | None, file, fix) for point in points]
    return [point for point in found if None not in point.values()]


def _metrics(values: Any, prefix: str, kind: Any, file: Path, fix: str) -> dict[str, Any]:
    found = {name: values.get(prefix + name, "nothing") if isinstance(values, Mapping) else values for name in _METRICS}
    if wrong := [f"{prefix}{name} is {value!r}" for name, value in found.items() if not isinstance(value, kind)]:
        raise ValueError(f"{file}: {', '.join(wrong)} where a number is needed; {fix}.")
    return found
