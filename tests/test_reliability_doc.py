"""docs/reliability.md: every line of its tables names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_test_that_is_named_exists():
    defined = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
    }
    lines = [
        line
        for line in (ROOT / "docs" / "reliability.md").read_text().splitlines()
        if "test_" in line and line[0] == "|"
    ]
    named = [re.findall(r"(test_\w+)`", line) for line in lines]
    assert len(named) > 20
    assert all(named)
    assert not {name for names in named for name in names} - defined
