"""What is repaired or left out is counted by reason, and the first of each reason is logged."""

from __future__ import annotations

import logging
from collections import Counter

_logger = logging.getLogger(__name__)


def count_and_log(counts: Counter[str], reason: str, number: int, item: str, where: str) -> None:
    """Add to the counts; log the first of each reason.

    Args:
        counts: Reason -> number.
        reason: What happened.
        number: How often; 0 changes nothing.
        item: Names the first case.
        where: The counts, for the log.
    """
    if not number:
        return
    if reason not in counts:
        _logger.warning("%s, first in %s. All are counted in %s.", reason, item, where)
    counts[reason] += number
