"""SearchObjective: the objective of a hyperparameter search, with a direction that does not choose the worst trial."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers.trainer_utils import default_compute_objective
from transformers.utils import logging

from hf_guidance.training.best_model import higher_is_better

logger = logging.get_logger(__name__)

_NO_MEASURE = ("_runtime", "_per_second", "_compilation_time")  # which the default objective leaves out, too


@dataclass(frozen=True)
class SearchObjective:
    """``compute_objective`` of a search; it refuses to look for the worst value of a metric whose direction is known.

    An objective that returns a metric as it is, such as ``lambda metrics: metrics["eval_loss/energy"]``, has the direction of
    that metric; the default objective, a sum, that of its metrics where all have the same. A negated or a weighted one is
    the user's own, and is not judged.

    Args:
        given: The user's ``compute_objective``, or None for that of Trainer.
        direction: "minimize" or "maximize", or a list with one of them for each objective.
        eval_sets: Names of the evaluation sets, where there are several.
        left_out: Names of metrics that do not count in the default objective.
        weights: Gives the weights of the terms of the trial that is being measured. Where they differ between trials, the
            default objective ``eval_loss``, which holds the weighted terms, prefers small weights: that is logged, once.
    """

    given: Callable[[dict[str, float]], Any] | None
    direction: str | Sequence[str]
    eval_sets: Collection[str] = ()
    left_out: Collection[str] = ()
    weights: Callable[[], Mapping[str, float]] = dict
    _seen: list[Mapping[str, float]] = field(default_factory=list, init=False)

    def __call__(self, metrics: dict[str, float]) -> Any:
        """The objective of one evaluation.

        Raises:
            ValueError: The direction contradicts the metric that the objective is.
        """
        if self.given is None:
            own = {name: value for name, value in metrics.items() if name not in self.left_out}
            value: Any = float(default_compute_objective(own))
            names = self._summed(own)
            self._check(self.direction, names)
            if names == ["eval_loss"]:
                self._warn_of_weights()
            return value
        value = self.given(metrics)
        values = value if isinstance(value, list | tuple) else [value]
        directions = [self.direction] if isinstance(self.direction, str) else self.direction
        for one, direction in zip(values, directions, strict=False):
            self._check(direction, _names_of(one, metrics))
        return value

    def _summed(self, metrics: Mapping[str, float]) -> list[str]:
        measures = [name for name in metrics if not name.endswith(_NO_MEASURE) and name not in ("eval_loss", "epoch")]
        return measures or [name for name in metrics if name == "eval_loss"]

    def _warn_of_weights(self) -> None:
        weights = self.weights()
        if weights in self._seen:
            return
        self._seen.append(weights)
        if len(self._seen) == 2:
            logger.warning(
                f"the objective of this search is eval_loss, which holds the weighted terms, and the weights differ between "
                f"trials ({self._seen[0]}, {weights}): small weights win whatever they do. Give "
                'compute_objective=lambda metrics: metrics["eval_loss/task"], or a metric such as metrics["eval_epg"].'
            )

    def _check(self, direction: Any, names: Sequence[str]) -> None:
        known = {higher_is_better(name, self.eval_sets) for name in names}
        if len(known) != 1 or None in known:
            return
        wanted = "maximize" if known.pop() else "minimize"
        if direction in ("minimize", "maximize") and direction != wanted:
            what = names[0] if len(names) == 1 else f"the sum of {sorted(names)}"
            raise ValueError(
                f"direction={direction!r} with the objective {what} would choose the worst trial: that is better when "
                f"{'higher' if wanted == 'maximize' else 'lower'}. Give direction={wanted!r}, or another compute_objective."
            )


def _names_of(value: Any, metrics: Mapping[str, float]) -> list[str]:
    # The very number, not an equal one: 1 - x may happen to equal x.
    return [name for name, measured in metrics.items() if measured is value and isinstance(value, float)]
