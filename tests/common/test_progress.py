"""Bars: after a while, on a terminal only, and off by the switches that people know."""

from __future__ import annotations

import io
import sys
import time
from contextlib import redirect_stderr
from types import SimpleNamespace

import pytest
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

from hf_guidance.common import progress as module
from hf_guidance.common.progress import progress, progress_bar, say


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(module, "_DELAY", 0.2)
    monkeypatch.setitem(
        sys.modules, "datasets", None
    )  # another test may have switched its bars off, or all of the hub's
    enable_progress_bars()
    return Terminal()


def slowly(stream, count=4, pause=0.1):
    with redirect_stderr(stream):
        return [time.sleep(pause) for _ in progress(range(count), "counting")]


def test_it_appears_when_it_takes_long_and_then_goes(terminal):
    slowly(terminal)
    assert "counting" in terminal.getvalue()
    assert not terminal.getvalue().rstrip("\r").rpartition("\r")[2].strip()  # the line is empty again


def test_what_is_quick_has_no_bar(terminal):
    with redirect_stderr(terminal):
        assert list(progress(range(3), "counting")) == [0, 1, 2]
    with redirect_stderr(terminal), progress_bar(3, "counting") as bar:
        bar.update(3)
    assert not terminal.getvalue()


def test_it_appears_while_it_is_moved_by_hand(terminal):
    with redirect_stderr(terminal), progress_bar(10, "reading", unit="B") as bar:
        for _ in range(4):
            time.sleep(0.1)
            bar.update(2)
        assert "reading" in terminal.getvalue()


def test_the_delay_is_five_seconds():
    assert module._DELAY == 5


def test_no_bar_without_a_terminal(terminal):
    plain = io.StringIO()
    slowly(plain)
    assert not plain.getvalue()


@pytest.mark.parametrize("group", [None, "hf_guidance"])
def test_off_by_the_switch_of_the_hub(terminal, group):
    disable_progress_bars(group)  # a context only in later versions
    try:
        slowly(terminal)
    finally:
        enable_progress_bars(group)
    assert not terminal.getvalue()


@pytest.mark.parametrize(("value", "off"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_off_by_the_switch_of_tqdm(terminal, monkeypatch, value, off):
    monkeypatch.setenv("TQDM_DISABLE", value)
    slowly(terminal)
    assert bool(terminal.getvalue()) is not off


@pytest.mark.parametrize("off", [True, False])
def test_off_by_the_switch_of_datasets(terminal, monkeypatch, off):
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(are_progress_bars_disabled=lambda: off))
    slowly(terminal)
    assert bool(terminal.getvalue()) is not off


def test_a_line_is_printed_where_it_is_wanted(capsys):
    say("done")
    say("odd", sys.stderr)
    assert capsys.readouterr() == ("done\n", "odd\n")
