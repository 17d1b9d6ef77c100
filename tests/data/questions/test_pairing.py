"""Triples of reasoning, sub- and irrelevant questions: all pairs, or drawn anew in every epoch; what makes none is named."""

from collections import Counter

import datasets
import numpy as np
import pytest
from torch.utils.data import DataLoader

from hf_guidance.data import MixedQuestions, QuestionTriples, every_question


def asked(*texts):
    return [{"question": text, "answers": ["yes", text]} for text in texts]


def row(number, subs=(), others=(), **more):
    fields = {"question_id": str(number), "question": f"why {number}?", "answers": ["yes"]}
    return {**fields, "sub_questions": asked(*subs), "irrelevant_questions": asked(*others), **more}


ROWS = [row(0, ["a", "b"], ["x", "y", "z"]), row(1, ["c"]), row(2, [], ["w"]), row(3, ["d"], ["v"], image_id="i")]
ALL = [
    *[("why 0?", sub, other) for sub in "ab" for other in "xyz"],
    ("why 1?", "c", None), ("why 2?", None, None), ("why 3?", "d", "v"),
]  # fmt: skip
PARTNERS = ("sub_question", "sub_answers", "irrelevant_question", "irrelevant_answers")


def texts(rows):
    return [(one["question"], one["sub_question"], one["irrelevant_question"]) for one in rows]


@pytest.mark.parametrize("make", [list, datasets.Dataset.from_list])
def test_all_pairs(make):
    rows = make([one | {"image_id": one.get("image_id")} for one in ROWS])
    triples = QuestionTriples(rows)
    assert len(triples) == 9
    assert texts(triples[index] for index in range(9)) == texts(triples.__getitems__(range(9))) == ALL
    assert triples[8] == {
        "question_id": "3", "question": "why 3?", "answers": ["yes"], "image_id": "i", "sub_question": "d",
        "sub_answers": ["yes", "d"], "irrelevant_question": "v", "irrelevant_answers": ["yes", "v"],
    }  # fmt: skip
    assert triples[-1] == triples[8]
    assert [triples[7][name] for name in PARTNERS] == [None] * 4
    for beyond in (9, -10):
        with pytest.raises(IndexError):
            triples[beyond]


def test_sampled_pairs_are_drawn_anew_in_every_epoch():
    triples = QuestionTriples(ROWS, pairs="sampled", seed=3)
    assert len(triples) == 4
    epochs = []
    for epoch in range(200):
        triples.set_epoch(epoch)
        epochs.append(texts(triples[index] for index in range(4)))
    assert {one[1:] for one in map(tuple, epochs)} == {tuple(ALL[6:])}  # these have one pair each
    drawn = Counter(one[0] for one in epochs)
    assert set(drawn) == set(ALL[:6])
    assert min(drawn.values()) > 15  # 33 of each are expected
    triples.set_epoch(7)
    assert texts(triples[index] for index in range(4)) == epochs[7]


def test_draws_depend_on_seed_epoch_and_id_only():
    many = [row(number, ["a", "b", "c"], ["x", "y", "z"]) for number in range(40)]
    triples = QuestionTriples(many, pairs="sampled", seed=1)
    triples.set_epoch(2)
    expected = {one["question_id"]: one for one in triples.__getitems__(range(40))}
    shuffled = QuestionTriples([many[index] for index in np.random.default_rng(0).permutation(40)], "sampled", 1)
    shuffled.set_epoch(2)
    assert {one["question_id"]: one for one in shuffled.__getitems__(range(40))} == expected
    as_numbers = QuestionTriples([one | {"question_id": int(one["question_id"])} for one in many], "sampled", 1)
    as_numbers.set_epoch(2)
    assert texts(as_numbers.__getitems__(range(40))) == texts(expected.values())
    other = QuestionTriples(many, "sampled", 2)
    other.set_epoch(2)
    assert texts(other.__getitems__(range(40))) != texts(expected.values())


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_see_the_epoch(persistent):
    many = [row(number, ["a", "b", "c"], ["x", "y", "z"]) for number in range(30)]
    triples = QuestionTriples(many, pairs="sampled")
    loader = DataLoader(triples, batch_size=8, collate_fn=list, num_workers=2, persistent_workers=persistent)
    for epoch in range(3):
        triples.set_epoch(epoch)
        read = [one for batch in loader for one in batch]
        assert read == triples.__getitems__(range(30))


def test_one_answer_as_text():
    """The form of the questions of shapes_vqa."""
    one = row(0) | {"sub_questions": [{"question": "a", "answer": "red", "importance": [0.5], "program": []}]}
    assert QuestionTriples([one])[0]["sub_answers"] == ["red"]


@pytest.mark.parametrize("make", [list, datasets.Dataset.from_list])
def test_every_question_of_rows_is_told(make):
    found = list(every_question(make([one | {"image_id": "i"} for one in ROWS])))
    assert [text for text, _ in found] == ["why 0?", *"abxyz", "why 1?", "c", "why 2?", "w", "why 3?", "d", "v"]
    assert dict(found)["x"] == ["yes", "x"]
    alone = {"question": "is it?", "answers": ["yes"]}
    drawn = {"question": "a", "answer": "red", "importance": [0.5], "program": []}
    told = list(every_question(make([alone | {"sub_questions": [drawn]}])))
    assert told == [("is it?", ["yes"]), ("a", ["red"])]
    assert list(every_question(make([alone]))) == told[:1]
    with pytest.raises(ValueError, match="has no rows by number"):
        list(every_question({"train": [alone]}))


def test_a_question_about_an_image_is_told_once():
    rows = [row(0, ["a"], ["x"], image_id="i"), row(1, ["x"], ["a"], image_id="i"), row(2, ["a"], image_id="j")]
    plain = [
        {"question": "x", "answers": ["no"], "image_id": "i"},
        {"question": "x", "answers": ["no"], "image_id": "k"},
    ]
    told = [text for text, _ in every_question(rows, plain)]
    assert told == ["why 0?", "a", "x", "why 1?", "why 2?", "a", "x"]


def test_mixed_by_size():
    triples = QuestionTriples(ROWS, pairs="sampled")
    plain = datasets.Dataset.from_list([{"question_id": f"v{number}", "question": "what?"} for number in range(5)])
    mixed = MixedQuestions(triples, plain, [{"question_id": "last"}])
    assert len(mixed) == 10
    ids = ["0", "1", "2", "3", "v0", "v1", "v2", "v3", "v4", "last"]
    assert [mixed[index]["question_id"] for index in range(10)] == ids
    order = np.random.default_rng(0).permutation(10).tolist()
    assert [one["question_id"] for one in mixed.__getitems__(order)] == [ids[index] for index in order]
    assert mixed[-1] == {"question_id": "last"}
    with pytest.raises(IndexError):
        mixed[10]
    drawn = set()
    for epoch in range(20):
        mixed.set_epoch(epoch)
        drawn |= set(texts([mixed[0]]))
        assert mixed[0] == triples[0]
    assert len(drawn) > 3


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((), "0 parts without any row"),
        (([], []), "2 parts without any row"),
        ((ROWS, iter(ROWS)), "part 1 is a list_iterator, which has no rows by number"),
        ((datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS[:1])),), "part 0 is a DatasetDict.*splits"),
    ],
)
def test_what_cannot_be_mixed(parts, message):
    with pytest.raises(ValueError, match=message):
        MixedQuestions(*parts)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0)], "none of 1 rows has a sub-question"),
        ([], "none of 0 rows has a sub-question"),
        (
            [row(0, ["Why  0"])],
            r"row 0 \(question_id '0'\): sub_questions\[0\] is 'Why  0', which is the reasoning question",
        ),
        ([row(0, ["a"], ["why 0?"])], r"irrelevant_questions\[0\] is 'why 0\?', which is the reasoning question"),
        ([row(0, ["a", "b"], ["x", "A?"])], r"irrelevant_questions\[1\] is 'A\?', which is in sub_questions too"),
        ([row(0, ["a"]), row("0", ["b"])], "rows 0 and 1 both have question_id '0'"),
        ([row(7, ["a"]), row(7, ["b"]) | {"question_id": 7.0}], "rows 0 and 1 both have question_id '7'"),
        ([row(0, ["a"]) | {"question_id": None}], "row 0, question_id: the id None is neither"),
        ([row(0, ["a"]) | {"question": " "}], r"question is ' '; allowed is text"),
        ([row(0, ["a", "?"])], r"sub_questions\[1\], question is '\?'; allowed is text"),
        ([row(0) | {"sub_questions": [{"question": "a", "answers": []}]}], r"sub_questions\[0\], 'a', has no answers"),
        ([row(0) | {"sub_questions": [{"question": "a"}]}], r"sub_questions\[0\], 'a', has no answers; add them"),
        (
            [row(0) | {"sub_questions": [{"question": "a", "answers": [""]}]}],
            r"sub_questions\[0\], 'a', has no answers",
        ),
        (
            [row(0) | {"sub_questions": [{"question": "a", "answers": "red"}]}],
            r"sub_questions\[0\]: answers is the text 'red'",
        ),
        ([row(0) | {"sub_questions": ["a"]}], r"sub_questions\[0\] is 'a'; allowed is \{'question': text"),
        (
            [{"question_id": "1", "question": "what?"}],
            "row 0 has no sub_questions, irrelevant_questions; triples are made of",
        ),
        (iter(ROWS), "list_iterator has no rows by number; give one datasets.Dataset"),
        (datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS[:1])), "DatasetDict has no rows by number"),
    ],
)
def test_what_makes_no_triples_is_named(rows, message):
    with pytest.raises(ValueError, match=message):
        QuestionTriples(rows)


def test_options_are_checked():
    with pytest.raises(
        ValueError, match=r"QuestionTriples\(pairs='some'\) is unknown; choose one of \['all', 'sampled'\]"
    ):
        QuestionTriples(ROWS, pairs="some")
    for seed in (-1, 0.5, True):
        with pytest.raises(ValueError, match="give a whole number of at least 0"):
            QuestionTriples(ROWS, seed=seed)


def test_lists_may_be_none():
    one = row(0, ["a"]) | {"irrelevant_questions": None}
    triples = QuestionTriples([one, row(1) | {"sub_questions": None}])
    assert texts(triples[index] for index in range(2)) == [("why 0?", "a", None), ("why 1?", None, None)]
