"""What was measured, as a card tells it: of this model, of the one before training, and of one trained without guidance."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult
from transformers.trainer_utils import get_last_checkpoint

from hf_guidance.common.text_files import read_json
from hf_guidance.training.publishing.annotations import RowsFacts

_OF_TIME = ("_runtime", "_per_second", "_time", "epoch", "step", "num_input_tokens_seen")
_OF_TERMS = ("loss/", "undefined_share/")
_STATE = "trainer_state.json"
EVAL = "eval"


class Evaluations:
    """The metrics that a trainer measured, by their names in ``evaluate()``.

    Attributes:
        before: Measured before the first step of training.
        now: The last that was measured: name -> (step, value).
        rows: Prefix of the names -> the data set that was evaluated.
    """

    def __init__(self) -> None:
        self.before: dict[str, float] = {}
        self.now: dict[str, tuple[int, float]] = {}
        self.rows: dict[str, Any] = {}
        self._trained = False
        self._loaded: int | None = None  # the step that the weights are of, where an earlier one was loaded

    def note(self, prefix: str, metrics: Mapping[str, Any], step: int, rows: Any) -> None:
        """Remember an evaluation."""
        found = measures(metrics, (prefix,))
        self.now.update({name: (step, value) for name, value in found.items()})
        self.rows[prefix] = rows
        if step == 0:
            self.before.update(found)

    def training_begins(self, step: int, history: list[dict[str, Any]]) -> None:
        """A new training, or one that is resumed.

        Args:
            step: 0 for a new one.
            history: The log of the run. Trainer begins a new one when it trains, so what was measured before is added to
                it, as ``eval_on_start`` does.
        """
        if step:
            self.before = {name: value for name, (_, value) in of_step(history, 0, self.prefixes).items()}
            self.now = of_step(history, last_step(history, self.prefixes), self.prefixes)
        else:
            self.before = {} if self._trained else self.before
            self.now = {}
            if self.before:
                history.append({**self.before, "epoch": 0.0, "step": 0})
        self._trained, self._loaded = True, None

    def weights_are_of(self, step: int, history: Iterable[Mapping[str, Any]]) -> None:
        """The model is now that of an earlier step, of which a log tells."""
        self.now, self._loaded = of_step(history, step, self.prefixes), step

    def current(self, step: int) -> set[str]:
        """Names of what was measured of the weights as they are, after ``step`` steps."""
        return {name for name, (measured, _) in self.now.items() if measured in (step, self._loaded)}

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Of the names of metrics; the longest first, since one may begin another."""
        return tuple(sorted({EVAL, *self.rows}, key=len, reverse=True))


def measures(entry: Mapping[str, Any], prefixes: Iterable[str] = (EVAL,)) -> dict[str, float]:
    """The metrics in a log entry; times and counts are left out."""
    starts = tuple(f"{prefix}_" for prefix in prefixes)
    return {
        name: float(value)
        for name, value in entry.items()
        if name.startswith(starts) and not name.endswith(_OF_TIME) and _is_number(value)
    }


def last_step(history: Iterable[Mapping[str, Any]], prefixes: Iterable[str] = (EVAL,)) -> int:
    """The last step at which a log has an evaluation; -1 for none."""
    known = tuple(prefixes)
    return max((int(entry.get("step", 0)) for entry in history if measures(entry, known)), default=-1)


def of_step(
    history: Iterable[Mapping[str, Any]], step: int, prefixes: Iterable[str] = (EVAL,)
) -> dict[str, tuple[int, float]]:
    """What a log has measured at a step; the last evaluation of each name counts."""
    known = tuple(prefixes)
    entries = [entry for entry in history if entry.get("step", 0) == step]
    return {name: (step, value) for entry in entries for name, value in measures(entry, known).items()}


def unguided_metrics(
    given: str | Path | Mapping[str, float] | None, prefixes: Iterable[str] = (EVAL,)
) -> dict[str, float]:
    """The metrics of a run without guidance.

    Args:
        given: Its ``output_dir``, where trainer_state.json is read, of the folder or of its last checkpoint: what was
            measured at the best step, or at the last one. Or what its ``evaluate()`` returned; a name without one of the
            prefixes gets "eval_".
        prefixes: Of the names of metrics; ``metric_key_prefix`` of ``evaluate()``.

    Raises:
        ValueError: There is no evaluation in it.
    """
    if given is None:
        return {}
    known = tuple(prefixes)
    if isinstance(given, Mapping):
        starts = tuple(f"{prefix}_" for prefix in known)
        named = {name if name.startswith(starts) else f"{EVAL}_{name}": value for name, value in given.items()}
        if found := measures(named, known):
            return found
        raise ValueError(f"unguided={dict(given)!r} holds no metric; give what evaluate() returned, or an output_dir.")
    folder = Path(given)
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    files = [folder / _STATE, *([Path(last) / _STATE] if last else [])]
    state = next((_read(file) for file in files if file.is_file()), {})
    history = state.get("log_history") or []
    best = state.get("best_global_step")
    step = last_step(history, known)
    measured = (of_step(history, best, known) if best is not None else {}) or of_step(history, step, known)
    if not measured:
        raise ValueError(
            f"unguided={str(given)!r}: neither the folder nor a checkpoint in it has a {_STATE} with an evaluation; give the "
            "output_dir of a run that evaluated, or the metrics that its evaluate() returned."
        )
    return {name: value for name, (_, value) in measured.items()}


def eval_results(now: Mapping[str, float], task: str, rows: Mapping[str, RowsFacts]) -> list[EvalResult]:
    """The model-index of a card: finite metrics, without the losses, which mean nothing beside those of another guidance.

    Args:
        now: Name -> value, measured of the model that is saved.
        task: Id of the task on the Hub.
        rows: Prefix -> the data set evaluated.
    """
    prefixes = sorted(rows, key=len, reverse=True)
    results = []
    for name, value in now.items():
        prefix = next((p for p in prefixes if name.startswith(f"{p}_")), EVAL)
        metric = name.removeprefix(f"{prefix}_")
        if metric == "loss" or metric.startswith(_OF_TERMS) or not math.isfinite(value):
            continue
        facts = rows.get(prefix) or RowsFacts(None, None, None, None, None)
        results.append(
            EvalResult(
                task_type=task,
                dataset_type=facts.hub_id or _slug(facts.name),
                dataset_name=facts.name or "evaluation set",
                dataset_config=facts.config,
                dataset_split=facts.split,
                metric_type=_slug(metric),
                metric_name=metric,
                metric_value=round(value, 6),
            )
        )
    return results


def _slug(name: str | None) -> str:
    return re.sub(r"[^a-z0-9]+", "_", (name or "").lower()).strip("_") or "custom"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(file: Path) -> dict[str, Any]:
    try:
        state = read_json(file)
    except ValueError as error:
        raise ValueError(f"unguided: {error}") from error
    return state if isinstance(state, dict) else {}
