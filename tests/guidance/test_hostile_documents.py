"""guidance.json that is made to cost time, and fields that a user's class leaves open."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import pytest

from hf_guidance import Guidance
from hf_guidance.attributions import IntegratedGradients
from hf_guidance.guidance import from_plain, known_names
from hf_guidance.guidance.document import parse_document
from hf_guidance.guidance.work_limits import MOST
from hf_guidance.objectives import Energy


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


COUNTS = [
    (name, field.name)
    for name, cls in sorted(known_names().items())
    if is_dataclass(cls)
    for field in fields(cls)
    if field.init and field.type in ("int", "int | None") and field.name != "draw"
]


def test_all_counts_are_known():
    assert {name for _, name in COUNTS} == {"answers", "budget", "copies", "count", "samples", "steps"}


@pytest.mark.parametrize(("cls", "name"), COUNTS)
def test_more_work_than_any_training_takes_is_refused(cls, name):
    with pytest.raises(ValueError, match=rf"a: {cls}\.{name} is 1,000,000,000; give at most 10,000"):
        from_plain({"type": cls, name: 10**9}, "a")


def test_what_would_be_refused_is_not_written():
    most = Guidance(energy=Energy(IntegratedGradients(steps=MOST)))
    assert Guidance.from_dict(most.to_dict()) == most
    with pytest.raises(ValueError, match=r"energy\.objective\.attribution: IntegratedGradients\.steps is 10,001"):
        Guidance(energy=Energy(IntegratedGradients(steps=MOST + 1))).to_json()


def test_numbers_of_a_users_class_are_its_own():
    @dataclass(frozen=True)
    class Mine:
        column: int = 0

    assert from_plain({"type": "Mine", "column": 10**9}, extra={"Mine": Mine}) == Mine(10**9)
