"""The record of a Pareto front on disk: pareto.json beside the folders of its models, and functions that load it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_guidance.common.text_files import read_json
from hf_guidance.evaluation.analysis.pareto import ParetoFront
from hf_guidance.evaluation.analysis.representative import representative

RECORD = "pareto.json"


def load_front(folder: str | Path) -> ParetoFront:
    """Load the front that a run left on disk; its keys are the folders of the models, so that fronts can be merged.

    Args:
        folder: ``<output_dir>/pareto``.

    Raises:
        ValueError: The folder holds no pareto.json.

    Example:
        >>> merged([load_front(f"runs/{weight}/pareto") for weight in (5e-4, 1e-3, 5e-3)]).members
    """
    record = _required(folder)
    front = ParetoFront(bins_of(record))
    for member in front_of(record).members:
        front.add(member.point, place_of(Path(folder), member.key))
    return front


def load_representative(
    folder: str | Path, baseline_f1: float, drop: float = 0.05, *, keep: str = "eval_f1", maximise: str = "eval_epg"
) -> Path:
    """The folder of the representative model of a run's front; see ``analysis.representative``.

    Args:
        folder: ``<output_dir>/pareto``.
        baseline_f1: The ``keep`` metric of the unguided model.
        drop: How much lower the ``keep`` metric of the representative may be.
        keep: Name of the metric that may be lower by at most ``drop``.
        maximise: Name of the metric that is highest in the representative.

    Returns:
        The folder of the checkpoint, for ``from_pretrained``.

    Raises:
        NoRepresentative: The front is empty or no member qualifies. It is a ValueError.
        ValueError: The folder holds no pareto.json, or the folder of the representative was removed.

    Example:
        >>> model = AutoModelForImageClassification.from_pretrained(load_representative("runs/voc/pareto", baseline_f1=0.81))
    """
    record = _required(folder)
    points = [point for point in record["points"] if point["step"] in record["members"]]
    given = [{name: point[name] for name in record["metrics"]} for point in points]
    best = place_of(
        Path(folder), points[representative(given, baseline_f1, drop, keep=keep, maximise=maximise)]["step"]
    )
    if not best.is_dir():
        raise ValueError(f"{best}, the representative, was removed; {RECORD} beside it still has its metrics.")
    return best


def _required(folder: str | Path) -> dict[str, Any]:
    record = read_record(Path(folder))
    if record is None:
        raise ValueError(f"{Path(folder) / RECORD} does not exist; give the folder that ParetoCheckpoints wrote.")
    return record


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read the record in a folder; None where there is none yet.

    Raises:
        ValueError: The file is damaged, or is not a record of a front.
    """
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        record: dict[str, Any] = read_json(file)
        needed = {"metrics", "bins", "points", "members"} - set(record)
        if not needed:
            needed = {name for point in record["points"] for name in {"step", *record["metrics"]} - set(point)}
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{file} is not what ParetoCheckpoints wrote ({error}); remove it to begin a new front."
        ) from error
    if needed:
        raise ValueError(f"{file} lacks {sorted(needed)}; remove it to begin a new front.")
    return record


def front_of(record: Mapping[str, Any]) -> ParetoFront:
    """The front of the points of a record; keys are steps."""
    front = ParetoFront(bins_of(record))
    for point in record["points"]:
        values = [point[name] for name in record["metrics"]]
        if None not in values:
            front.add(values, point["step"])
    return front


def bins_of(record: Mapping[str, Any]) -> Any:
    """The bins of a record, a tuple where there is one per metric."""
    bins = record["bins"]
    return tuple(bins) if isinstance(bins, list) else bins


def place_of(folder: Path, step: Any) -> Path:
    """The folder of the model of a step."""
    return folder / f"step-{step}"
