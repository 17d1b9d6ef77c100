"""Which way a metric is better, so that the best checkpoint is kept and not the worst."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from transformers import TrainerCallback
from transformers.utils import logging

logger = logging.get_logger(__name__)

# Of evaluate(), of classification_metrics and, as a test checks, of the modules in metrics/; a share of what is undefined is
# named <metric>_undefined_share there.
_HIGHER = {
    "epg", "attribution_iou", "on_object_epg", "pointing_game", "plausibility", "rrr_suff", "rrr_inv", "comprehensiveness",
    "vqa_accuracy", "accuracy", "worst_group_accuracy", "mean_group_accuracy", "adjusted_accuracy", "f1", "map",
    "mixed_same", "mixed_rand", "r_right_s_right", "consistency", "reasoning_accuracy", "mp_at_1", "ranking_accuracy", "mrr",
    "cider", "bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor", "spice", "object_recall",
}  # fmt: skip
_LOWER = {
    "loss", "rrr_unc", "sufficiency", "undefined_share", "excluded_share", "bg_gap", "r_right_s_wrong", "r_wrong_s_right",
    "r_wrong_s_wrong", "wpr", "chair_i", "chair_s",
}  # fmt: skip
_OF_A_TERM = re.compile(r"(^|_)(loss|undefined_share)/")  # each followed by the name of a term; before it that of a set
_PREFIX = "eval_"


def higher_is_better(metric: str, eval_sets: Collection[str] = ()) -> bool | None:
    """Say which way a metric of this library is better.

    Args:
        metric: Its name, with or without "eval_": "eval_epg", "loss/energy".
        eval_sets: Names of the evaluation sets, where there are several: "eval_<set>_epg".

    Returns:
        True or False; None for a name that is not of this library.

    Example:
        >>> higher_is_better("eval_epg"), higher_is_better("eval_loss/energy"), higher_is_better("eval_mine")
        (True, False, None)
    """
    name = metric.removeprefix(_PREFIX)
    for known in (name, *(name.removeprefix(f"{one}_") for one in eval_sets if name.startswith(f"{one}_"))):
        if known in _HIGHER:
            return True
        if known in _LOWER or _OF_A_TERM.search(known) or known.endswith("_undefined_share"):
            return False
    return None


def surely_lower(metric: str) -> bool:
    """Whether a metric is better when lower, where the names of the evaluation sets are not known.

    Args:
        metric: Its name, as "eval_loss/energy", "eval_birds_rrr_unc"; any name that ends in "loss" is one, as for transformers.

    Example:
        >>> surely_lower("eval_birds_loss"), surely_lower("eval_birds_epg")
        (True, False)
    """
    known = higher_is_better(metric)
    if known is not None:
        return not known
    return metric.endswith(("loss", *(f"_{name}" for name in _LOWER)))


def settle_direction(args: Any, eval_sets: Collection[str] = ()) -> None:
    """Make ``args.greater_is_better`` what ``args.metric_for_best_model`` needs, where the metric is of this library.

    transformers takes all metrics whose name does not end in "loss" as better when greater, "eval_loss/energy" too.

    Args:
        args: TrainingArguments; changed, with a warning, where the value may be the default of transformers.
        eval_sets: As for ``higher_is_better``.

    Raises:
        ValueError: ``greater_is_better`` was given, and contradicts the metric.
    """
    metric, given = args.metric_for_best_model, args.greater_is_better
    wanted = None if metric is None else higher_is_better(metric, eval_sets)
    if wanted is None or given is None or bool(given) == wanted:
        return
    if given != (not metric.endswith("loss")):
        raise ValueError(contradiction(metric, given, wanted))
    args.greater_is_better = wanted
    logger.warning(f"greater_is_better is set to {wanted}, since {metric!r} is better when {_word(wanted)}.")


def contradiction(metric: str, given: bool, wanted: bool) -> str:
    """The message for a ``greater_is_better`` that would keep the worst checkpoint."""
    return (
        f"greater_is_better={given} with metric_for_best_model={metric!r} would keep the worst model: that metric is better "
        f"when {_word(wanted)}. Leave greater_is_better out, or give another metric of your own another name."
    )


def _word(higher: bool) -> str:
    return "higher" if higher else "lower"


class BestModelWatch(TrainerCallback):  # type: ignore[misc]
    """Says at the end of training that no model was the best, which transformers passes over in silence."""

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Warn where the best model was asked for, but the metric was never a number."""
        if args.load_best_model_at_end and state.best_model_checkpoint is None and state.is_world_process_zero:
            logger.warning(
                f"load_best_model_at_end: no evaluation gave {args.metric_for_best_model!r} as a number, so no checkpoint is "
                "the best, and the model is that of the last step."
            )
