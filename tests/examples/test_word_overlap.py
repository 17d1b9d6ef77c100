"""The baseline that ranks questions by the words that they share with a reasoning question."""

import importlib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def overlap(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("word_overlap")


def row(subs, others, question="Is the red cross above the circle?"):
    listed = [[{"question": text} for text in texts] for texts in (subs, others)]
    return {"question": question, "sub_questions": listed[0], "irrelevant_questions": listed[1]}


def test_measures_by_hand(overlap):
    """Asked: is the red cross above circle, 6 words; own: where is the small red circle, of which 4 are shared."""
    found = overlap.overlaps("where is the small red circle ?", "Is the red cross above the circle?")
    assert found == pytest.approx(
        {
            "shared words": 4, "few new words": -2, "share of own words": 4 / 6,
            "share of the reasoning question's words": 4 / 6, "jaccard": 4 / 8, "length": 6,
        }
    )  # fmt: skip
    assert set(overlap.overlaps("?", "")) == set(overlap.MEASURES)


def test_ranking_by_hand(overlap):
    """Shared words: 4 before 2; then 2 before 4, and 3 between 2 and 4. The last two rows have one kind of question only."""
    near, middle, far = "where is the red circle?", "where is the cross?", "where is the square?"
    rows = [row([near], [far]), row([far], [near]), row([near, far], [middle]), row([near], []), row([], [far])]
    found = overlap.ranked_by_overlap(iter(rows), "shared words")
    assert found["mp_at_1"] == pytest.approx(2 / 3)
    assert found["ranking_accuracy"] == pytest.approx(1 / 3)
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found["chance_mp_at_1"] == pytest.approx((1 / 2 + 1 / 2 + 2 / 3) / 3)
    assert found["chance_ranking_accuracy"] == pytest.approx((1 / 2 + 1 / 2 + 1 / 3) / 3)


def test_ties_are_broken_at_random(overlap):
    rows = [row(["what is red?"], ["what is blue?"], "why?")] * 2000
    found = overlap.ranked_by_overlap(rows, "jaccard", seed=3)
    assert found["mp_at_1"] == pytest.approx(0.5, abs=0.04)  # a standard deviation is 0.011
    assert found == overlap.ranked_by_overlap(rows, "jaccard", seed=3)
    assert found["mp_at_1"] != overlap.ranked_by_overlap(rows, "jaccard", seed=4)["mp_at_1"]


def test_what_is_refused(overlap):
    with pytest.raises(ValueError, match=r"measure 'bleu' is unknown; choose one of \['shared words'"):
        overlap.ranked_by_overlap([], "bleu")
    with pytest.raises(ValueError, match=r"No row has sub_questions and irrelevant_questions"):
        overlap.ranked_by_overlap([row(["is it?"], [])], "jaccard")


def test_an_answer_that_is_a_word_of_the_reasoning_question_comes_first(overlap):
    row = {
        "question": "Is there a red circle?",
        "sub_questions": [{"question": "What colour is the top left object?", "answer": "red"}],
        "irrelevant_questions": [{"question": "What colour is the top right object?", "answer": "blue"}],
    }
    found = overlap.ranked_by_overlap([row] * 8, overlap.ANSWER_NAMED)
    assert (found["mp_at_1"], found["chance_mp_at_1"]) == (1.0, 0.5)
    other = row | {"question": "How many circles are there?"}
    assert 0 <= overlap.ranked_by_overlap([other] * 8, overlap.ANSWER_NAMED)["mp_at_1"] < 1
