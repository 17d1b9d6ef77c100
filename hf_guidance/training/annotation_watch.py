"""AnnotationWatch: tells after the first epoch whether training saw any annotated row, and every term one that counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback
from transformers.utils import logging

from hf_guidance.data.annotated import can_be_judged, check_annotated
from hf_guidance.families import Family
from hf_guidance.forward.columns import BatchColumns
from hf_guidance.guidance import Guidance

logger = logging.get_logger(__name__)

_UNGUIDED = (
    "training saw no annotated row, so it was unguided: no row had a label to explain, and something for it in the columns {}. "
    "Check these columns, the labels, the column 'annotated' if there is one, and the options of the collator."
)
_OWN_SOURCES = "that its collate function reads"


class AnnotationWatch(TrainerCallback):  # type: ignore[misc]
    """Stop a run whose first whole epoch has no annotated explained row, or none that a term counts.

    In three cases there is only a warning: the run was resumed, and may have seen annotated rows before; the data set is
    known to hold annotation; or ``max_steps`` ended training within the first epoch. In the last two cases it may be chance
    that no annotated row was drawn. With several processes nothing is judged, because each sees only a part of the rows.

    Terms are judged where the objective says what rows may lack (``Objective.lacks``), also in a data set that is known to
    hold annotation; one that was left out of some steps, as by a schedule or ``guide_every``, is only warned of.

    Attributes:
        seen: Set by the trainer at the first annotated explained row; reset when training begins.
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
        self._lacks: dict[str, str] = {}
        self._counted: set[str] = set()
        self._left_out: set[str] = set()

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

    def look(self, every: Guidance, used: Guidance, family: Family, annotated: Mapping[str, Any] | None) -> None:
        """See which terms count a row of a step; no more after the first epoch.

        Args:
            every: All terms of the training.
            used: The terms of this step.
            family: The family of the model.
            annotated: The batch of the images that the step guides; None without any.
        """
        for name, term in every.guided.items() if self._looking else ():
            if not (lacks := term.objective.lacks()) or name in self._counted:
                continue
            self._lacks[name] = (
                f"term {name!r} ({type(term.objective).__name__}) counted no row of a whole epoch: {lacks}"
            )
            if name not in used:
                self._left_out.add(name)
            elif annotated is not None and bool(term.objective.rows(BatchColumns(family, annotated)).any()):  # type: ignore[arg-type]
                self._counted.add(name)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget the previous run."""
        self._begin(resumed=state.global_step > 0)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the epoch.

        Raises:
            ValueError: A whole epoch had no annotated explained row, or none that counts for a term.
        """
        looked, self._looking = self._looking, False
        if args.world_size > 1:
            return
        chance = self._resumed or (args.max_steps > 0 and state.global_step >= state.max_steps)
        if not self.seen:
            unguided = _UNGUIDED.format(self._sources)
            if not (self.known or chance):
                raise ValueError(unguided)
            logger.warning_once(unguided)
        for name in self._lacks.keys() - self._counted if looked else ():
            if not (chance or name in self._left_out):
                raise ValueError(self._lacks[name])
            logger.warning_once(self._lacks[name])
