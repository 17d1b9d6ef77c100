"""guidance.json that is made to cost time, and fields that a user's class leaves open."""

from dataclasses import dataclass
from typing import Any

import pytest

from hf_guidance.guidance import from_plain
from hf_guidance.guidance.document import parse_document


def test_many_names_of_which_one_is_given_twice_cost_one_pass():
    names = [f"n{number}" for number in range(60_000)]  # minutes, where each name is counted by a pass of its own
    text = "{" + ",".join(f'"{name}":1' for name in [*names, names[-1]]) + "}"
    with pytest.raises(ValueError, match="is given twice"):
        parse_document(text)


def test_a_field_of_any_type_takes_what_is_there():
    @dataclass(frozen=True)
    class Mine:
        x: Any = None

    assert from_plain({"type": "Mine", "x": 1}, extra={"Mine": Mine}) == Mine(1)
