"""Processes that end when the one that started them has ended, however that ended: SIGKILL leaves no time to tell them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_INTERVAL = 0.5  # seconds between two looks at the parent
_PARENTS: list[int] = []  # of processes that are forked now, one entry a block of `forks_end_with_this_process`


def end_with_parent(parent: int) -> None:
    """End this process soon after its parent has ended, whatever this process is doing by then; return at once.

    A thread looks twice a second whose child this process is. On Windows, where that never changes, nothing happens.

    Args:
        parent: Process id of the parent. It is noted by the parent, before it starts this process: a parent that ended since
            then is noticed too.

    Example:
        >>> ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=end_with_parent, initargs=(os.getpid(),))
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_INTERVAL)
        os._exit(1)  # sys.exit would end this thread only

    threading.Thread(target=watch, name="end_with_parent", daemon=True).start()


@contextmanager
def forks_end_with_this_process() -> Iterator[None]:
    """Within the block, processes that are forked end with the process that forks them, and their own forks with them.

    For libraries that start processes themselves, as `datasets` does with ``num_proc``: workers, and a server for their queue.

    Example:
        >>> with forks_end_with_this_process():
        ...     builder.download_and_prepare(num_proc=2)
    """
    _PARENTS.append(os.getpid())
    try:
        yield
    finally:
        _PARENTS.pop()


def _after_fork() -> None:
    if _PARENTS:
        parent = _PARENTS[-1]
        _PARENTS[:] = [os.getpid()] * len(_PARENTS)
        end_with_parent(parent)


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_after_fork)
