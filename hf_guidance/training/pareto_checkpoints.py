"""ParetoCheckpoints: keeps on disk the models of a training run that are on the Pareto front."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.utils import logging

from hf_guidance.common.sharding import is_sharded
from hf_guidance.common.whole_file import whole_file
from hf_guidance.evaluation.analysis.pareto import Bins, ParetoFront, pareto_indices
from hf_guidance.evaluation.analysis.pareto_record import RECORD, bins_of, front_of, place_of, read_record
from hf_guidance.guidance import Guidance
from hf_guidance.training.best_model import surely_lower

logger = logging.get_logger(__name__)

FOLDER = "pareto"
METRICS = ("eval_f1", "eval_epg", "eval_attribution_iou")


class ParetoCheckpoints(TrainerCallback):  # type: ignore[misc]
    """Save each model that an evaluation during training puts on the Pareto front, and delete dominated ones.

    ``<output_dir>/pareto/step-<n>/`` holds the model, the image processor or tokenizer, and guidance.json. ``pareto.json``
    beside it lists every evaluated point, and which of them are members. Whenever the process ends, each of these folders
    is complete, and every member has one. A resumed run continues the front on disk: a step that was already evaluated
    keeps its first metrics and model. A run from step 0 begins a new front. Only the main process writes.

    In a hyperparameter search the fronts are ``<output_dir>/pareto-0``, ``pareto-1`` and so on, in the order of the trials.

    Args:
        metrics: Names of metrics that ``evaluate()`` returns, larger is better.
        bins: As for ``ParetoFront``.
        guidance: Saved as guidance.json with each model. A trainer whose guidance is a function of the trial sets it itself.

    Raises:
        ValueError: No metrics, a name twice or one that is better when lower, bins that are not positive; in training: the
            model cannot be saved, a metric is missing, there are no evaluations, or the front on disk has other metrics or
            bins.

    Requirements:
        ``eval_strategy``, and ``compute_metrics`` and ``grounding`` that give the metrics.

    Example:
        >>> grounding = Grounding(GradCAM(), metrics=("epg", "attribution_iou"))
        >>> front = ParetoCheckpoints(guidance=guidance)
        >>> trainer = GuidedTrainer(..., guidance=guidance, grounding=grounding, callbacks=[front])
        >>> trainer.train()
        >>> best = load_representative("runs/voc/pareto", baseline_f1=0.81)
    """

    def __init__(self, metrics: Sequence[str] = METRICS, bins: Bins = 0.005, guidance: Guidance | None = None) -> None:
        self.metrics = tuple(metrics)
        if isinstance(metrics, str) or not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise ValueError(f"metrics={metrics!r}; give a tuple of different names, such as {METRICS}.")
        if lower := [name for name in self.metrics if surely_lower(name)]:
            raise ValueError(
                f"metrics: {lower} are better when lower, but a front keeps what is larger; leave them out."
            )
        if guidance is not None and not isinstance(guidance, Guidance):
            raise ValueError(
                f"guidance={guidance!r} is a {type(guidance).__name__}; give the trainer's Guidance, or None."
            )
        self.bins = ParetoFront(bins).bins  # checked there
        if isinstance(self.bins, tuple):
            pareto_indices([[0.0] * len(self.metrics)], self.bins)  # checks for one bin per metric
        self.guidance = guidance
        self._training = False
        self._folder = Path(FOLDER)  # of this run's front
        self._trials = 0
        self._matched: int | None = None  # the last step that gave the metrics
        self._unmatched: list[str] | None = None  # the metrics that were given instead

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Read the front on disk, or begin a new one.

        Raises:
            ValueError: The model has no ``save_pretrained`` or is sharded, nothing is evaluated in training, or the front on
                disk has other metrics or bins.
        """
        if not hasattr(model, "save_pretrained"):
            raise ValueError(
                f"{type(model).__name__} has no save_pretrained, so its checkpoints could not be loaded again; train a "
                "transformers model, or wrap a timm one in TimmWrapperForImageClassification."
            )
        if is_sharded(model):
            raise ValueError(
                "ParetoCheckpoints: the main process saves alone, but has a part of the weights only (FSDP2); keep the best by "
                "load_best_model_at_end and metric_for_best_model, or train with DistributedDataParallel."
            )
        if args.eval_strategy == "no":
            raise ValueError(
                "eval_strategy='no' measures no model in training, so there is no front; choose 'epoch' or 'steps'."
            )
        self._training, self._matched, self._unmatched = True, None, None
        self._folder = folder = Path(args.output_dir) / FOLDER
        if state.is_hyper_param_search:
            self._folder = folder = folder.with_name(f"{FOLDER}-{self._trials}")
            self._trials += 1
        if not state.is_world_process_zero:
            return
        record = read_record(folder) if state.global_step else None
        if record is not None:
            self._check_same(record, folder)
        elif (folder / RECORD).is_file():
            logger.warning(f"{folder} holds the front of an earlier run, which this run replaces.")
            (folder / RECORD).unlink()  # first: then no record names the folders that are removed next
        _sweep(folder, record["members"] if record else [])

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, model: Any = None, **kwargs: Any
    ) -> None:
        """Add the evaluated model to the front.

        Raises:
            ValueError: Some of the metrics are missing.
        """
        if not self._training:
            return  # an evaluation of the finished model, perhaps on the test set
        missing = [name for name in self.metrics if name not in metrics]
        if missing and len(missing) == len(self.metrics) and self._matched == state.global_step:
            return  # one of several evaluation sets; another gave the metrics of this step
        self._unmatched = sorted(metrics) if missing else None
        if missing:
            if len(missing) < len(self.metrics):
                self._require_match()
            return  # the next evaluation set may give them; on_step_begin checks that
        self._matched = state.global_step
        if state.is_world_process_zero:
            point = {name: math.nan if metrics[name] is None else float(metrics[name]) for name in self.metrics}
            self._add(self._folder, state, point, model, kwargs.get("processing_class"))

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse to continue training when no evaluation set gave the metrics.

        Raises:
            ValueError: The metrics are missing.
        """
        self._require_match()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop adding to the front: later evaluations are of the finished model.

        Raises:
            ValueError: The metrics were missing in the last evaluation.
        """
        self._training = False
        self._require_match()

    def _require_match(self) -> None:
        if self._unmatched is not None:
            missing = sorted(set(self.metrics) - set(self._unmatched))
            raise ValueError(
                f"the evaluation gave no {missing}, but {self._unmatched}; name metrics among them, or pass the "
                "compute_metrics and the grounding that give them."
            )

    def _add(self, folder: Path, state: Any, point: dict[str, float], model: Any, processor: Any) -> None:
        record = read_record(folder) or {"metrics": list(self.metrics), "bins": self.bins, "points": [], "members": []}
        step = int(state.global_step)
        if any(known["step"] == step for known in record["points"]):
            return
        defined = all(map(math.isfinite, point.values()))
        if not defined:
            logger.warning(f"step {step} has undefined metrics {point}: it cannot be on the Pareto front.")
        record["points"].append(
            {"step": step, "epoch": state.epoch}
            | {name: value if math.isfinite(value) else None for name, value in point.items()}
        )
        front = front_of(record)
        if any(member.key == step for member in front.members):
            self._save(folder, step, model, processor)
        record["members"] = [member.key for member in front.members]
        with whole_file(folder / RECORD) as draft:
            draft.write_text(json.dumps(record, indent=1) + "\n")
        _sweep(folder, record["members"])

    def _save(self, folder: Path, step: int, model: Any, processor: Any) -> None:
        draft, place = folder / f".step-{step}", place_of(folder, step)
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(draft)
        if processor is not None:
            processor.save_pretrained(draft)
        if self.guidance is not None:
            self.guidance.save(draft)
        os.replace(draft, place)

    def _check_same(self, record: Mapping[str, Any], folder: Path) -> None:
        found = record["metrics"], bins_of(record)
        if found != (list(self.metrics), self.bins):
            raise ValueError(
                f"{folder} holds a front of metrics and bins {found}, but these are {(list(self.metrics), self.bins)}; "
                "go on with those of the run that is resumed, or give another output_dir."
            )


def _sweep(folder: Path, members: Iterable[int]) -> None:
    # Removes the folders of no member: dominated models, and what a killed process left.
    kept = {RECORD, *(f"step-{step}" for step in members)}
    for left in folder.glob("*") if folder.is_dir() else ():
        if left.name not in kept and left.name.lstrip(".").startswith("step-"):
            _remove(left)


def _remove(folder: Path) -> None:
    # Renamed first: a partly removed model must not look like a complete one.
    if folder.is_dir():
        hidden = folder if folder.name.startswith(".") else folder.with_name(f".{folder.name}-removed")
        if hidden != folder:
            shutil.rmtree(hidden, ignore_errors=True)
            folder.rename(hidden)
        shutil.rmtree(hidden)
