"""Annotators: their orders, their places, their names."""

import numpy as np
import pytest

from hf_guidance.apps.annotation.desk import Desk
from hf_guidance.apps.annotation.order import drawn_order
from hf_guidance.apps.annotation.sitting import Sitting
from hf_guidance.apps.annotation.store import AnswerStore

IDS = [f"image-{row}" for row in range(50)]


class Named:
    """Items that have names only."""

    ids, fingerprint = IDS, "f"

    def __len__(self):
        return len(IDS)


@pytest.fixture
def store(tmp_path):
    with AnswerStore(tmp_path / "answers.sqlite", "f", 50) as opened:
        yield opened


def test_orders_are_drawn_and_stay():
    order = drawn_order(IDS, "anna", 0)
    assert sorted(order) == list(range(50))
    assert np.array_equal(order, drawn_order(IDS, "anna", 0))
    assert order[:6].tolist() == [22, 26, 27, 45, 6, 29], "orders must never change: people are in the middle of them"
    others = [drawn_order(IDS, "ben", 0), drawn_order(IDS, "anna", 1)]
    assert all(not np.array_equal(order, other) for other in others)


def test_an_order_keeps_when_images_are_added():
    before = [IDS[place] for place in drawn_order(IDS, "anna", 0)]
    more = [*IDS, "new-1", "new-2"]
    assert [more[place] for place in drawn_order(more, "anna", 0) if more[place] in IDS] == before


def test_a_sitting_goes_on_where_it_ended(store):
    order = drawn_order(IDS, "anna", 0)
    first = Sitting("anna", order, store)
    for word in ("yes", "no", "maybe"):
        assert first.answer(first.shown, word)
    again = Sitting("anna", order, store)
    assert (again.shown, again.done) == (order[3], 3)
    assert again.next == order[4]


def test_an_answer_for_another_image_does_not_count(store):
    sitting = Sitting("anna", drawn_order(IDS, "anna", 0), store)
    seen = sitting.shown
    assert sitting.answer(seen, "yes")
    assert not sitting.answer(seen, "yes"), "the second click of a double click"
    assert store.columns()["anna"].count("yes") == 1
    assert sitting.done == 1


def test_back_and_change(store):
    order = drawn_order(IDS, "anna", 0)
    sitting = Sitting("anna", order, store)
    assert not sitting.back()
    for _ in range(3):
        sitting.answer(sitting.shown, "yes")
    assert sitting.back()
    assert sitting.back()
    assert (sitting.shown, sitting.answered(sitting.shown)) == (order[1], "yes")
    assert sitting.answer(sitting.shown, "no")
    assert (sitting.shown, sitting.done) == (order[3], 3), "on to the first without an answer"
    assert store.log()[-1] == (order[1], "anna", "yes", "no")


def test_the_end(store):
    sitting = Sitting("anna", drawn_order(IDS, "anna", 0), store)
    while sitting.shown is not None:
        assert sitting.answer(sitting.shown, "yes")
    assert (sitting.done, sitting.next) == (50, None)
    assert sitting.back()
    assert sitting.answer(sitting.shown, "no")
    assert sitting.shown is None


def test_two_tabs_with_one_name(store):
    desk = Desk(Named(), store)
    first = desk.sit("anna", "tab-1", "session-1")
    with pytest.raises(ValueError, match="'anna' is answering in another browser tab"):
        desk.sit(" anna ", "tab-2")
    assert desk.sit("anna", "tab-1", "session-2") is first, "the tab was loaded anew"
    desk.leave("session-1")  # which the server hears of later
    with pytest.raises(ValueError, match="another browser tab"):
        desk.sit("anna", "tab-2")
    desk.leave("session-2")
    assert desk.sit("anna", "tab-2").name == "anna"


def test_a_tab_that_is_still_gives_its_name_up(store):
    desk = Desk(Named(), store, idle=0)
    desk.sit("anna", "tab-1")
    assert desk.sit("anna", "tab-2").name == "anna"


@pytest.mark.parametrize("name", ["", "  ", "a" * 41, "a\x00b"])
def test_names_that_are_none(store, name):
    with pytest.raises(ValueError, match="is no name"):
        Desk(Named(), store).sit(name, "tab")


def test_names_are_those_of_the_list(store):
    desk = Desk(Named(), store, annotators=["anna", "ben"])
    assert desk.sit("ben", "tab").name == "ben"
    with pytest.raises(ValueError, match="'carl' is not on the list"):
        desk.sit("carl", "tab")
    with pytest.raises(ValueError, match="has a name twice"):
        Desk(Named(), store, annotators=["anna", "Anna"])


def test_names_do_not_differ_in_capitals_only(store):
    store.put(0, "Anna", "yes")
    with pytest.raises(ValueError, match="'Anna' is known here"):
        Desk(Named(), store).sit("anna", "tab")
