"""Processes that are killed: before a chosen file operation, or at a moment of chance; and which of them are left."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from pathlib import Path

_OPERATIONS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")
KILLED = int(signal.SIGKILL)


def fork_and_wait(work, seconds=None):
    """Run ``work()`` in a copy of this process, killed after ``seconds``; the exit status or number of the signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def kill_before(operation, folder, work):
    """Run ``work()`` in a copy of this process, which dies before its n-th change of a file below ``folder``.

    The exit status: 9 where it died, 0 where it needed fewer operations.
    """

    def watched():
        count = 0

        def watch(event, arguments):
            nonlocal count
            if event not in _OPERATIONS or not str(arguments[0]).startswith(str(folder)):
                return
            if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                return
            count += 1
            if count == operation:
                os._exit(KILLED)

        sys.addaudithook(watch)
        work()

    return fork_and_wait(watched)


def descendants(parent):
    """Process ids of all processes that a process started, directly or not, and that run. Linux only."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (found := _state_and_parent(folder)):
            parents[int(folder.name)] = found[1]
    found, waiting = [], [parent]
    while waiting:
        above = waiting.pop()
        below = [process for process, owner in parents.items() if owner == above]
        found += below
        waiting += below
    return found


def left_after(processes, seconds=15):
    """Those of some processes that still run some seconds later; returns as soon as none does."""
    limit = time.time() + seconds
    while processes and time.time() < limit:
        time.sleep(0.05)
        processes = [process for process in processes if _state_and_parent(Path(f"/proc/{process}"))]
    return processes


def _state_and_parent(folder):
    """Of a folder of /proc, None where the process has ended, though its exit status may be waiting for someone."""
    try:
        state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else (state, int(parent))
