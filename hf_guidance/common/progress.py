"""Progress bars for what may take long: one appears after five seconds, on a terminal only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO, TypeVar

Item = TypeVar("Item")

_DELAY = 5.0  # seconds without a bar: most calls are over by then
_GROUP = "hf_guidance"


def progress_bar(total: float | None, what: str, **options: Any) -> Any:
    """A bar of tqdm that is moved by ``update(n)`` and used as a context; it is gone from the terminal when it ends.

    It is off where the error stream is no terminal, and by the switches people know: ``HF_HUB_DISABLE_PROGRESS_BARS``,
    ``TQDM_DISABLE``, and ``disable_progress_bars()`` of huggingface_hub (of all bars, or of the group "hf_guidance") or of
    datasets. ``disable_progress_bar()`` of transformers switches huggingface_hub's.

    Args:
        total: What ``update`` adds up to in the end; None where that is not known.
        what: What is done, before the bar.
        **options: As for tqdm, for example ``unit="B", unit_scale=True``.

    Returns:
        The bar.

    Example:
        >>> with progress_bar(size, "reading train.tsv", unit="B", unit_scale=True) as bar:
        ...     for line in file:
        ...         bar.update(len(line))
    """
    return _bar(None, what, {"total": total} | options)


def progress(items: Iterable[Item], what: str, **options: Any) -> Iterable[Item]:
    """Go through items under a bar, as ``progress_bar``.

    Args:
        items: What to go through.
        what: What is done, before the bar.
        **options: As for tqdm; ``total`` where the items have no length.

    Returns:
        An iterable of the same items.

    Example:
        >>> for batch in progress(batches, "explanation scores"):
        ...     measure(batch)
    """
    shown: Iterable[Item] = _bar(items, what, options)
    return shown


def say(text: str, file: TextIO | None = None) -> None:
    """Print a line above the bars that are drawn, if any.

    Args:
        text: The line.
        file: Where to; standard output when None.
    """
    from huggingface_hub.utils import tqdm  # imported here: a bar is seldom needed

    tqdm.write(text, file=file or sys.stdout)
    (file or sys.stdout).flush()


def _bar(items: Iterable[Any] | None, what: str, options: dict[str, Any]) -> Any:
    from huggingface_hub.utils import tqdm  # imported here: a bar is seldom needed

    # None: tqdm's own rule, no bar without a terminal.
    settings = {"delay": _DELAY, "leave": False, "disable": True if _switched_off() else None}
    return tqdm(items, desc=what, name=_GROUP, **(settings | options))


def _switched_off() -> bool:
    if os.environ.get("TQDM_DISABLE", "0").lower() not in ("", "0", "false", "no"):
        return True
    datasets = sys.modules.get("datasets")  # not loaded for this
    off = getattr(datasets, "are_progress_bars_disabled", None)
    return bool(off is not None and off())
