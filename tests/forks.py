"""Processes that are copies of this one: on their own as any other, without the ten seconds that torch and transformers take.

What only a new interpreter shows, as that a command imports what it needs, is tested by `subprocess` still.
"""

from __future__ import annotations

import logging
import os
import runpy
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch


class Fork:
    """A copy of this process at work, with standard streams, working directory and environment of its own.

    Args:
        work: What it does. It ends with 0, with 1 and a traceback after an error, or as ``SystemExit`` says.
        cwd: Its working directory; None for this one.
        **environment: Variables beside those of this process.
    """

    def __init__(self, work: Callable[[], object], cwd: Path | None = None, **environment: str) -> None:
        self._streams = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115  # of the process, as long as it runs
        self.returncode: int | None = None
        self._ended = threading.Lock()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                status = self._status_of(work, cwd, environment)
            finally:  # never back into the tests of which this is a copy
                os._exit(status)

    def _status_of(self, work: Callable[[], object], cwd: Path | None, environment: dict[str, str]) -> int:
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.environ.update(environment)
            os.chdir(cwd or ".")
            for number, stream in enumerate(self._streams, 1):
                os.dup2(stream.fileno(), number)
            sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
            _log_to(sys.stderr)
            work()
            status = 0
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        return status

    @property
    def out(self) -> str:
        """What stands on its standard output so far."""
        return self._read(0)

    @property
    def err(self) -> str:
        """What stands on its standard error so far."""
        return self._read(1)

    def _read(self, number: int) -> str:
        file = self._streams[number].fileno()
        return os.pread(file, os.fstat(file).st_size, 0).decode()  # a position is shared with the process

    def poll(self) -> int | None:
        """How it ended, by the rule of `subprocess`; None while it runs."""
        with self._ended:  # it can be waited for once only
            if self.returncode is None:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if ended else None
            return self.returncode

    def wait(self, timeout: float = 240) -> int:
        """Wait for its end; after so many seconds it is killed, which is an error."""
        limit = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > limit:
                self.send_signal(signal.SIGKILL)
                raise TimeoutError(f"a copy of this process was at work for {timeout} seconds: {self.err}")
            time.sleep(0.01)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _log_to(stream: object) -> None:
    """Let loggers write to a stream: those of libraries keep the one that was there when they were imported."""
    for logger in [logging.root, *logging.Logger.manager.loggerDict.values()]:
        for handler in getattr(logger, "handlers", ()):
            if type(handler) is logging.StreamHandler:
                handler.setStream(stream)


def script(path: Path | str, *words: object) -> Callable[[], object]:
    """Work of a Fork: ``python path words``."""
    return lambda: (sys.path.insert(0, str(Path(path).parent)), _as_main(runpy.run_path, str(path), words))


def module(name: str, *words: object) -> Callable[[], object]:
    """Work of a Fork: ``python -m name words``."""
    return lambda: _as_main(runpy.run_module, name, words)


def _as_main(run: Callable[..., object], name: str, words: tuple[object, ...]) -> None:
    sys.argv = [name, *map(str, words)]
    run(name, run_name="__main__", **({"alter_sys": True} if run is runpy.run_module else {}))


def ranks(count: int, work: Callable[[], object]) -> None:
    """Do some work in so many processes, with the variables that torchrun sets where they are several; all have to succeed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    own = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {} for rank in range(count)]
    forks = [Fork(lambda: _as_rank(work), **variables) for variables in own]
    limit = time.monotonic() + 240
    try:  # the first that fails says why; the others would wait for it
        while None in (ended := [fork.poll() for fork in forks]) and not any(ended) and time.monotonic() < limit:
            time.sleep(0.01)
    finally:
        for fork in forks:
            fork.send_signal(signal.SIGKILL)
    failed = [fork.err[-3000:] for fork, status in zip(forks, ended, strict=True) if status]
    assert not failed, failed[0]
    assert None not in ended, f"after 240 seconds these were still at work: {ended}"


def _as_rank(work: Callable[[], object]) -> None:
    """What accelerate knows of this process is of the one it is a copy of."""
    from accelerate.state import AcceleratorState, GradientState, PartialState

    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    work()
    if torch.distributed.is_initialized():
        torch.distributed.barrier()  # the first process keeps what all of them need to end
        torch.distributed.destroy_process_group()
