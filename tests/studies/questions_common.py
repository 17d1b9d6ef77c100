"""What the studies of questions share: the demo's data and training, what is measured of a model, a table to continue."""

import importlib
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from studies.common import Results
from torch.utils.data import DataLoader

from hf_guidance import Guidance, GuidedTrainer, recipes
from hf_guidance.attributions import Attribution, Gradient, KeepOneIn, PredictedLogit
from hf_guidance.evaluation.scores import explanation_metrics, explanation_scores
from hf_guidance.guidance.serialization import to_plain

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples"))
demo: Any = importlib.import_module("demo_vqa")
OPTIONS = demo.DemoArguments()
TASK, THRESHOLD = demo.TASK, recipes.THRESHOLDS[demo.TASK]
PREDICTED = PredictedLogit()
MEASURED = ("plausibility", "sufficiency", "comprehensiveness", "rrr_suff", "rrr_inv", "rrr_unc")
COLUMNS = ("id_accuracy", "ood_accuracy", "rrr_suff", "rrr_inv", "rrr_unc", "plausibility", "plausible_grad")
POINTS = ("accuracy", "plausibility", "sufficiency", "comprehensiveness")


class Table(Results):
    """A table that goes on where an earlier call of the same settings stopped, and knows statements of papers."""

    def __init__(self, name: str, folder: Path, arms: Mapping[str, Any], **notes: Any) -> None:
        super().__init__(name, folder, {}, **notes)
        self.settings = {arm: _plain(arm_) for arm, arm_ in arms.items()}
        kept = json.loads(self.file.read_text()) if self.file.is_file() else {"runs": {}, "settings": {}}
        same = [arm for arm in arms if kept["settings"].get(arm) == json.loads(json.dumps(self.settings[arm]))]
        self.runs = {arm: kept["runs"][arm] for arm in same if arm in kept["runs"]}

    def has(self, arm: str, seed: int) -> bool:
        return any(run["seed"] == seed for run in self.runs.get(arm, []))

    def state(self, text: str, holds: bool | None, shown: str) -> None:
        """A statement of a paper, and whether it holds here; None: the difference is within the noise."""
        verdict = {True: "holds", False: "does not hold", None: "open"}[holds]
        self.notes[f"{verdict}: {text}"] = shown

    def compare(self, text: str, pair: tuple[str, str], name: str = "ood_accuracy", above: float = 0.0) -> None:
        """The statement that one arm's mean exceeds another's by more than ``above`` points, over the seeds both have.

        Two models that differ in three of ten answers: the difference has a standard error of sqrt(0.3 / 800) = 1.9 points
        a seed, whatever the spread over the seeds.
        """
        first, second = ({run["seed"]: run[name] for run in self.runs.get(arm, [])} for arm in pair)
        seeds = sorted(set(first) & set(second))
        if not seeds:
            return
        holds, noise = judged([first[seed] - second[seed] - above for seed in seeds], 1.9)
        means = [float(np.mean([values[seed] for seed in seeds])) for values in (first, second)]
        self.state(text, holds, f"{name} {means[0]:.1f} against {means[1]:.1f}, noise {noise:.1f}")


def judged(differences: Sequence[float], error: float = 0.0) -> tuple[bool | None, float]:
    """Whether differences of seeds are positive, None within the noise: twice the standard error, at least ``error`` a seed."""
    count = len(differences)
    noise = 2 * max(error, float(np.std(differences, ddof=1)) if count > 1 else 0.0) / count**0.5
    mean = float(np.mean(differences))
    return (None if abs(mean) < noise else mean > 0), noise


def _plain(guidance: Any) -> Any:
    terms = guidance.items() if isinstance(guidance, Guidance) else ()
    return {name: to_plain(term) for name, term in terms} or repr(guidance)


def quiet_training() -> None:
    """The trainer prints a line a run, and the library warns of what a study does on purpose."""
    torch.set_num_threads(1)
    logging.getLogger("hf_guidance").setLevel(logging.ERROR)


def scores_of(trainer: GuidedTrainer, rows: Sequence[Any], attribution: Attribution) -> dict[str, Any]:
    loader = DataLoader(rows, batch_size=200, collate_fn=trainer.data_collator)  # type: ignore[arg-type]
    return explanation_scores(trainer.model, trainer.family, loader, attribution=attribution, threshold=THRESHOLD)


def measure(trainer: GuidedTrainer, splits: Mapping[str, Any], points: Path | None = None) -> dict[str, Any]:
    """Accuracy of every split in percent; of test_id RRR, and how plausible and faithful KeepOneIn is, the paper's choice.

    ``points`` is a file for what is known of each question of test_id and test_ood.
    """
    names = {"dev": "dev", "id": "test_id", "ood": "test_ood"}
    measured = {f"{name}_accuracy": 100 * demo.accuracy(trainer, splits[split]) for name, split in names.items()}
    explained = KeepOneIn(target=PREDICTED)
    inside, outside = (scores_of(trainer, splits[split], explained) for split in ("test_id", "test_ood"))
    found = explanation_metrics(inside) | {"full_probability": float(inside["full_probability"].mean())}
    measured |= {name: _percent(found[name]) for name in (*MEASURED, "full_probability")}
    gradients = scores_of(trainer, splits["test_id"], Gradient(target=PREDICTED))
    measured["plausible_grad"] = 100 * float(np.nanmean(gradients["plausibility"]))
    if points is not None:
        points.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(points, **{name: np.concatenate([inside[name], outside[name]]) for name in POINTS})
    return measured


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def run_arm(
    table: Table,
    arm: str,
    guidance: Guidance,
    splits: Mapping[str, Any],
    seed: int,
    *extra: Any,
    make_model: Callable[..., Any] = demo.small_updn,
) -> None:
    """Train and measure unless the table has it; ``extra`` are functions of (trainer, splits) that measure more."""
    if table.has(arm, seed):
        return
    started = time.time()
    trainer = demo.train(splits, guidance, seed, OPTIONS, make_model)
    seconds = time.time() - started
    scores = measure(trainer, splits, points_file(table, arm, seed))
    for function in extra:
        scores |= function(trainer, splits)
    table.add(arm, seed, scores | {"train_seconds": seconds})


def points_file(table: Table, arm: str, seed: int) -> Path:
    """Where ``run_arm`` leaves what is known of each question."""
    return table.file.parent / "points" / f"{table.name}-{arm.replace(' ', '_')}-{seed}.npz"
