"""Run: what a report reads of one training, from the files in its output_dir."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_guidance.apps.report.files import read_json
from hf_guidance.data.columns import RANDOM_IMPORTANCE
from hf_guidance.evaluation.analysis.pareto_record import RECORD as FRONT
from hf_guidance.evaluation.analysis.pareto_record import read_record

STATE, GUIDANCE = "trainer_state.json", "guidance.json"
KINDS = ("unguided", "guided", "control", "unknown")
_FACTS = "RunFacts"  # the callback that writes them
_MOST_GUIDANCE = 1 << 20  # bytes
_LARGEST = 1 << 60
_MEASURED = ("eval_", "test_")
_NOT_MEASURED = ("_runtime", "_per_second", "_preparation_time")
_SETTINGS = ("model", "learning_rate", "epochs", "max_steps", "batch_size", "guide_every")


@dataclass(frozen=True)
class Run:
    """One training, as far as its files tell.

    Read are trainer_state.json (of the folder, or of its last checkpoint where that has more steps), guidance.json beside it,
    panels/*.png, pareto/pareto.json, other *.png in the folder, and the results.json of the examples. All of it is optional,
    but something must be there. What a GuidedTrainer of this version writes into trainer_state.json beside the log, such as
    the seed and the share of annotated rows, is None of runs that lack it.

    Attributes:
        folder: The output_dir.
        metrics: Metric to its value at the last evaluation (at the best model's, where that was loaded at the end); NaN where
            it was undefined.
        history: The log: dicts of numbers, each with "step".
        guidance: As guidance.json holds it; None where it is not known.
        seed: Of the training.
        control: Whether it was trained with importance at random places, or drawn at random.
        rows: Number of training rows.
        share: Share of them that was annotated.
        settings: What else the run was trained with, by name.
        panels: Pictures of AttributionPanel, by step.
        pictures: Other pictures in the folder.
        front: The content of pareto.json; None where there is none.
        results: The content of results.json of an example; None where there is none.
        name: What it is called; the folder's name unless a grid gives one.
        identity: What runs of one arm have in common, beside what is above.
    """

    folder: Path
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: Sequence[Mapping[str, float]] = ()
    guidance: Mapping[str, Any] | None = None
    seed: int | None = None
    control: bool | None = None
    rows: int | None = None
    share: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    panels: Mapping[int, Path] = field(default_factory=dict)
    pictures: Sequence[Path] = ()
    front: Mapping[str, Any] | None = None
    results: Mapping[str, Any] | None = None
    name: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """One of "unguided", "guided", "control" and "unknown"."""
        if self.guidance is None:
            return "unknown"
        if not set(self.guidance) - {"task"}:
            return "unguided"
        return "control" if self.control else "guided"

    @classmethod
    def read(cls, folder: str | Path) -> Run:
        """Read the files of a run.

        Args:
            folder: Its output_dir, or a checkpoint.

        Raises:
            ValueError: The folder has none of the files, or one of them is damaged or too large; names the file and the fix.
        """
        folder = Path(folder)
        if not is_run(folder):
            raise ValueError(
                f"{folder} holds no run: it has no {STATE} (nor a checkpoint with one), panels, {FRONT} or results.json; give "
                "an output_dir, and save one with save_strategy or trainer.save_state()."
            )
        place, state = _state(folder)
        facts = _facts(state, place / STATE)
        guidance = facts.get("guidance") or _guidance(folder, place)
        file = folder / "results.json"
        entries = _entries(state, place / STATE)
        return cls(
            folder,
            metrics=_metrics(entries, state.get("best_global_step") if facts.get("load_best_model_at_end") else None),
            history=list(_history(entries)),
            guidance=guidance,
            seed=_number(facts.get("seed"), int),
            control=_control(facts, guidance),
            rows=_number(facts.get("rows"), int),
            share=_share(facts.get("annotated_share")),
            settings={name: facts[name] for name in _SETTINGS if facts.get(name) is not None},
            panels=_panels(folder / "panels"),
            pictures=sorted(folder.glob("*.png")),
            front=front_in(folder / "pareto"),
            results=read_json(file, dict, "remove it, or run the example again") if file.is_file() else None,
            name=folder.resolve().name,
            identity={name: facts[name] for name in ("model", "source", "box_dilation") if facts.get(name)},
        )


def is_run(folder: Path) -> bool:
    """Whether a folder holds some file of a run."""
    known = (folder / STATE, folder / "pareto" / FRONT, folder / "results.json")
    return folder.is_dir() and (
        any(file.is_file() for file in known) or bool(_checkpoints(folder)) or bool(_panels(folder / "panels"))
    )


def _checkpoints(folder: Path) -> dict[int, Path]:
    """Step to checkpoint, in order."""
    found = {}
    for place in folder.glob("checkpoint-*"):
        step = place.name.removeprefix("checkpoint-")
        if step.isdecimal() and (place / STATE).is_file():
            found[int(step)] = place
    return dict(sorted(found.items()))


def _state(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of the state with most steps, and the state; {} where there is none."""
    fix = "leave the run out, or restore the file from a checkpoint"
    own: dict[str, Any] = read_json(folder / STATE, dict, fix) if (folder / STATE).is_file() else {}
    last = max(_checkpoints(folder).items(), default=None)
    if last is not None and last[0] > (_number(own.get("global_step"), int) or -1):
        return last[1], read_json(last[1] / STATE, dict, fix)
    return folder, own


def _facts(state: Mapping[str, Any], file: Path) -> dict[str, Any]:
    found: Any = state
    for name in ("stateful_callbacks", _FACTS, "attributes", "facts"):
        found = found.get(name, {}) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise ValueError(f"{file}: its {_FACTS} are no names with values; leave the run out.")
    if not isinstance(found.get("guidance", {}), dict):
        raise ValueError(f"{file}: the guidance of its {_FACTS} is no object of term name to term; leave the run out.")
    return found


def _guidance(folder: Path, place: Path) -> dict[str, Any] | None:
    for file in dict.fromkeys((place / GUIDANCE, folder / GUIDANCE)):
        if file.is_file():
            found: dict[str, Any] = read_json(
                file, dict, "copy it from another checkpoint, or remove it", _MOST_GUIDANCE
            )
            return found
    return None


def _control(facts: Mapping[str, Any], guidance: Any) -> bool | None:
    if f'"{RANDOM_IMPORTANCE}"' in json.dumps(guidance):
        return True
    return facts["control_seed"] is not None if "control_seed" in facts else None


def _entries(state: Mapping[str, Any], file: Path) -> list[dict[str, Any]]:
    entries = state.get("log_history", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{file}: log_history is no list of entries; leave the run out, or restore the file.")
    return entries


def _history(entries: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, float]]:
    for entry in entries:
        numbers = {name: float(value) for name, value in entry.items() if _number(value, float) is not None}
        if "step" in numbers:
            yield numbers


def _metrics(entries: Sequence[Mapping[str, Any]], best: Any) -> dict[str, float]:
    """The last value of each metric; the one at the step ``best`` where the log has it."""
    found: dict[str, float] = {}
    fixed: set[str] = set()
    for entry in entries:
        for name, value in entry.items():
            if not name.startswith(_MEASURED) or name.endswith(_NOT_MEASURED) or name in fixed:
                continue
            if value is not None and _number(value, float) is None:
                continue
            found[name] = math.nan if value is None else float(value)
            if best is not None and entry.get("step") == best:
                fixed.add(name)
    return found


def front_in(folder: Path) -> dict[str, Any] | None:
    """The content of pareto.json in a folder; None where there is none.

    Raises:
        ValueError: It is damaged; names the file and the fix.
    """
    if (folder / FRONT).is_file():
        fix = "remove it, and the page has no front of this run"
        found = read_json(folder / FRONT, dict, fix)  # for its bounds, and what read_record takes for granted
        points, names = found.get("points"), found.get("metrics")
        listed = isinstance(points, list) and all(isinstance(point, dict) for point in points)
        if not listed or not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{folder / FRONT} holds no points of metrics; {fix}.")
    return read_record(folder)


def _panels(folder: Path) -> dict[int, Path]:
    steps = {file: file.stem.removeprefix("step-") for file in folder.glob("step-*.png")}
    return dict(sorted((int(step), file) for file, step in steps.items() if step.isdecimal()))


def _share(value: Any) -> float | None:
    number = _number(value, float)
    return None if number is None or not 0 <= number <= 1 else float(number)


def _number(value: Any, kind: type) -> Any:
    """A number that is one; None for all else, a whole number that no float holds among them."""
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        return None
    return None if isinstance(value, int) and abs(value) > _LARGEST else value
