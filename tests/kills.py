"""Processes that are killed: before a chosen file operation, or at a moment of chance."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback

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
