"""AnnotationWatch: tells after the first epoch whether training saw any annotated row, and every term one that counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import has_length
from transformers.utils import logging

from hf_guidance.data.annotated import can_be_judged, check_annotated
from hf_guidance.families import Family
from hf_guidance.forward.columns import BatchColumns
from hf_guidance.forward.rows import ExplainedRows
from hf_guidance.guidance import Term
from hf_guidance.objectives.objective import Objective

logger = logging.get_logger(__name__)

_UNGUIDED = (
    "training saw no annotated row, so it was unguided: no row had a label to explain, and something for it in the columns {}. "
    "Check these columns, the labels, the column 'annotated' if there is one, and the options of the collator."
)
_OWN_SOURCES = "that its collate function reads"


class AnnotationWatch(TrainerCallback):  # type: ignore[misc]
    """Stop a run whose first whole epoch has no annotated explained row, or none that a term counts.

    There is only a warning where an annotated row may not have been drawn by chance: the run was resumed, and may have seen
    some before; the data set is known to hold annotation; ``dataloader_drop_last`` leaves rows out; or training ended within
    its first epoch, by ``max_steps``, a share of ``num_train_epochs`` or a callback. An epoch that a callback ended is not
    judged, but those after it, until one was whole. With several processes nothing is judged, because each sees only a part
    of the rows.

    Terms are judged where the objective says what rows may lack (``Objective.lacks``), also in a data set that is known to
    hold annotation, and at every step, whether the step has the term or leaves it out, as by a schedule or ``guide_every``.
    Terms of weight 0 are not judged, nor those whose ``rows`` reads more than the columns of the batch.

    Attributes:
        seen: Whether a step had an annotated explained row; reset when training begins.
        known: Whether the data set was found to hold annotation.
        judged: Whether the data set was looked at.
    """

    def __init__(self) -> None:
        self.seen = False
        self.known = self.judged = False
        self._sources: Any = _OWN_SOURCES
        self._begin(resumed=False)

    def _begin(self, resumed: bool) -> None:
        self.seen, self._resumed, self._looking = False, resumed, True
        self._lacks: dict[str, tuple[str, str]] = {}
        self._counted: set[str] = set()

    def judge(self, dataset: Any, sources: Sequence[str]) -> None:
        """Look at the training set before training.

        Args:
            dataset: The training set.
            sources: Columns that hold importance; see ``RowCollator.sources``.

        Raises:
            ValueError: As ``check_annotated``.
        """
        check_annotated(dataset, sources)
        self.known, self.judged, self._sources = can_be_judged(dataset), True, list(sources)

    def look(
        self,
        terms: Mapping[str, Term],
        family: Family,
        rows: ExplainedRows,
        batch: Mapping[str, Any],
        images: Sequence[int],
    ) -> None:
        """See whether a step has annotated rows, and until a whole epoch was seen, which terms count one.

        Args:
            terms: The terms of the training beside the task, whether this step has them or not.
            family: The family of the model.
            rows: How the batch is laid out.
            batch: The batch of the step.
            images: Its images with an annotated explained row.
        """
        self.seen |= bool(images)
        if not self._looking:
            return
        judged = {name: term.objective for name, term in terms.items() if term.weight and term.objective.lacks()}
        self._lacks = {name: (type(objective).__name__, objective.lacks()) for name, objective in judged.items()}
        waiting = judged.keys() - self._counted
        if waiting and images:
            columns = BatchColumns(family, rows.annotated_only(batch))
            self._counted |= {name for name in waiting if _counts(judged[name], columns)}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget the previous run."""
        self._begin(resumed=state.global_step > 0)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the epoch.

        Raises:
            ValueError: A whole epoch had no annotated explained row, or none that counts for a term.
        """
        looked, cut = self._looking, _is_cut(state, control, kwargs.get("train_dataloader"))
        self._looking = looked and cut
        if args.world_size > 1 or (cut and not control.should_training_stop):
            return
        chance = self._resumed or args.dataloader_drop_last or cut
        if not self.seen:
            unguided = _UNGUIDED.format(self._sources)
            if not (self.known or chance):
                raise ValueError(unguided)
            logger.warning_once(unguided)
        for name in self._lacks.keys() - self._counted if looked else ():
            kind, lacks = self._lacks[name]
            if not chance:
                raise ValueError(f"term {name!r} ({kind}) counted no row of a whole epoch: {lacks}")
            logger.warning_once(f"term {name!r} ({kind}) counted no row so far: {lacks}")


def _is_cut(state: Any, control: Any, loader: Any) -> bool:
    """Whether an epoch ended before its last batch; of a stream the end is not known, so where a step ended it, it may have."""
    if not (control.should_training_stop or control.should_epoch_stop):
        return False
    return not (has_length(loader) and state.epoch and float(state.epoch).is_integer())


def _counts(objective: Objective, columns: BatchColumns) -> bool:
    try:
        return bool(objective.rows(columns).any())  # type: ignore[arg-type]
    except AttributeError:  # it reads the model's outputs, which cost a call of the model: taken to count
        return True
