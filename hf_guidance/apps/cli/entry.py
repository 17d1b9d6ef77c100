"""Runs a command, and turns how it ended into an exit code and at most one line."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import typer

from hf_guidance.apps.cli.application import app, is_utf8
from hf_guidance.apps.cli.output import one_line, say, without_secrets

COMMANDS = ("train", "evaluate", "explain", "annotate", "trust-study", "publish", "models", "metrics")
"""The commands in the order of the help; each has a file of its name."""

FAILED, WRONG_USAGE, INTERRUPTED, TERMINATED = 1, 2, 128 + signal.SIGINT, 128 + signal.SIGTERM


def command_line() -> Any:
    """The application with all its commands."""
    for name in COMMANDS:
        import_module(f"hf_guidance.apps.cli.{name.replace('-', '_')}")
    return typer.main.get_command(app)


def run(words: Sequence[str]) -> int:
    """Run ``hf-guidance`` with the words of a command line.

    Args:
        words: Without the name of the program.

    Returns:
        The exit code: 0 done, 1 it failed, 2 wrong usage, 130 interrupted, 143 terminated.

    Example:
        >>> run(["metrics"])
        0
    """
    for word in words:
        if not is_utf8(word):
            say(f"hf-guidance: {os.fsencode(word)!r} is not UTF-8; rename the file, or write the word anew.")
            return WRONG_USAGE
    code = FAILED
    with _ended_by_sigterm():
        try:
            command_line().main(list(words), prog_name="hf-guidance")
        except SystemExit as end:  # how typer ends, help and wrong usage too
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else FAILED
        except KeyboardInterrupt:
            code = INTERRUPTED
        except Exception as error:
            if "--debug" in words:
                sys.stderr.write(without_secrets(traceback.format_exc()))
            say(f"hf-guidance: {one_line(error)}")
    if code == INTERRUPTED:
        say("hf-guidance: interrupted")
    return _flushed(code)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends what runs as an error would, so that files are closed and drafts removed; a second one ends at once."""
    if threading.current_thread() is not threading.main_thread():  # where no handler can be set
        yield
        return

    def end(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # as of `hf-guidance metrics | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
