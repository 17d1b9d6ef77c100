"""docs/command-line.md is what its tool writes, but for numbers, which differ from machine to machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_what_the_sessions_say():
    spec = importlib.util.spec_from_file_location(
        "write_cli_sessions", ROOT / "tests" / "tools" / "write_cli_sessions.py"
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    made, kept = tool.comparable(tool.page()), tool.comparable(tool.PAGE.read_text())
    assert made == kept, "run `make sessions`"
    assert str(ROOT) not in kept
