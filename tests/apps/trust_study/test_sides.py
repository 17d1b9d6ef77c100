"""Which model stands first: drawn, balanced, hidden; and ratings that are about models, not about places."""

import numpy as np
import pytest
from comparisons import comparison_folder

from hf_guidance.apps.annotation.desk import Desk
from hf_guidance.apps.annotation.items.scale import COMPARISON
from hf_guidance.apps.annotation.order import drawn_order, drawn_sides
from hf_guidance.apps.annotation.store import AnswerStore
from hf_guidance.apps.trust_study import ComparisonFolder, rating_table, study_preference

IDS = [f"row-{place}" for place in range(101)]


@pytest.fixture
def study(tmp_path):
    items = ComparisonFolder(comparison_folder(tmp_path / "trust", 12))
    with AnswerStore(tmp_path / "answers.sqlite", items.fingerprint, len(items), items.scale) as store:
        yield items, store


def test_sides_are_balanced_wherever_somebody_stops():
    for name in ("anna", "ben", "clara"):
        sides = drawn_sides(drawn_order(IDS, name, 0), IDS, name, 0)
        ahead = np.cumsum(np.where(sides, 1, -1))
        assert abs(ahead).max() <= 1
        assert sides.dtype == bool


def test_sides_are_drawn_for_each_person_and_stay():
    order = drawn_order(IDS, "anna", 0)
    sides = drawn_sides(order, IDS, "anna", 0)
    assert np.array_equal(sides, drawn_sides(order, IDS, "anna", 0))
    assert sides[:8].tolist() == [False, True, True, False, True, False, True, False], (
        "people are in the middle of them"
    )
    firsts = [drawn_sides(drawn_order(IDS, f"rater {n}", 0), IDS, f"rater {n}", 0)[::2].mean() for n in range(40)]
    assert 0.4 < np.mean(firsts) < 0.6, "which of a pair changes is a coin"
    places = np.array([by_place(f"rater {n}") for n in range(200)])
    assert abs(places.mean(0) - 0.5).max() < 0.15, "each comparison is seen both ways"


def by_place(name):
    order = drawn_order(IDS, name, 0)
    sides = np.zeros(len(IDS), bool)
    sides[order] = drawn_sides(order, IDS, name, 0)
    return sides


def test_what_is_said_of_places_is_kept_of_models(study):
    items, store = study
    sitting = Desk(items, store).sit("anna", "tab")
    while (place := sitting.shown) is not None:
        # As the page shows them, the second model is clearly better wherever it stands.
        assert sitting.answer(place, "-2" if sitting.swapped(place) else "2")
    assert store.columns()["anna"] == ["2"] * 12
    assert sorted(store.swapped_of("anna").values()) == [False] * 6 + [True] * 6
    again = Desk(items, store).sit("anna", "tab")
    assert {again.answered(place) for place in range(12) if again.swapped(place)} == {"-2"}
    assert {again.answered(place) for place in range(12) if not again.swapped(place)} == {"2"}


def test_a_scale_is_its_own_mirror_image():
    for word in COMPARISON.words:
        assert COMPARISON.turned(COMPARISON.turned(word, True), True) == word
        assert COMPARISON.turned(word, False) == word
    assert [COMPARISON.turned(word, True) for word in COMPARISON.words] == list(COMPARISON.words[::-1])


def test_words_of_another_scale_are_refused(study):
    _, store = study
    with pytest.raises(ValueError, match="'yes'"):
        store.put(0, "anna", "yes")
    with pytest.raises(ValueError, match="'3'"):
        store.put(0, "anna", "3")


def test_another_seed_on_the_same_answers_is_refused(study):
    items, store = study
    Desk(items, store, seed=3)
    Desk(items, store, seed=3)
    with pytest.raises(ValueError, match=r"seed=0: .* was begun with seed 3, by which the sides are drawn"):
        Desk(items, store)


def test_of_a_rating_put_by_hand_no_side_is_known(study):
    items, store = study
    store.put(0, "anna", "1")
    assert store.swapped_of("anna") == {}
    assert study_preference(items, store, samples=20).prefer_shown_first is None
    assert rating_table(items, store)["shown_first_to_anna"][0] is None
