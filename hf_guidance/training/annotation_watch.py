"""AnnotationWatch: tells after the first epoch whether training saw any annotated row."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback
from transformers.utils import logging

logger = logging.get_logger(__name__)

_UNGUIDED = (
    "training saw no annotated row, so it was unguided: no row had a box, mask or importance of an explained class. "
    "Check the columns 'objects', 'mask', 'segmentations', 'importance' and 'annotated', and the collator's source."
)


class AnnotationWatch(TrainerCallback):  # type: ignore[misc]
    """Stop a run whose first whole epoch has no annotated explained row.

    In three cases there is only a warning: the run was resumed, and may have seen annotated rows before; the data set is
    known to hold annotation; or ``max_steps`` ended training within the first epoch. In the last two cases it may be chance
    that no annotated row was drawn. With several processes nothing is judged, because each sees only a part of the rows.

    Attributes:
        seen: Set by the trainer at the first annotated explained row; reset when training begins.
        known: Whether the data set was found to hold annotation.
        judged: Whether the data set was looked at.
    """

    def __init__(self) -> None:
        self.seen = False
        self.known = self.judged = False
        self._resumed = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget the previous run."""
        self.seen, self._resumed = False, state.global_step > 0

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the epoch.

        Raises:
            ValueError: A whole epoch had no annotated explained row.
        """
        if self.seen or args.world_size > 1:
            return
        cut = args.max_steps > 0 and state.global_step >= state.max_steps
        if not (self.known or self._resumed or cut):
            raise ValueError(_UNGUIDED)
        logger.warning_once(_UNGUIDED)
