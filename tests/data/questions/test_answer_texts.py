"""One reader of answers, in the vocabulary, the collator, the split and the rows: lists of texts, or VQA's dicts."""

import json

import datasets
import numpy as np
import pytest
from test_question_collator import VOCABULARY, collator, row

from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.questions.answer_texts import answer_texts
from hf_guidance.data.questions.answers import AnswerVocabulary
from hf_guidance.data.questions.prior_shift import changing_prior_split
from hf_guidance.data.questions.rows import question_row

OFFICIAL = [{"answer": "red", "answer_confidence": "maybe", "answer_id": number + 1} for number in range(3)]
SAME = {
    "list": ["red"] * 3,
    "tuple": ("red",) * 3,
    "array": np.array(["red"] * 3),
    "objects": np.array(["red"] * 3, object),
    "official": OFFICIAL,
    "array of dicts": np.array(OFFICIAL, object),
    "dict of lists": {"answer": ["red"] * 3, "answer_confidence": ["yes"] * 3, "answer_id": [1, 2, 3]},
    "dict of arrays": {"answer": np.array(["red"] * 3)},
    "column": datasets.Dataset.from_dict({"answer": ["red"] * 3})["answer"],
}


@pytest.mark.parametrize("given", SAME.values(), ids=list(SAME))
def test_three_annotators_who_say_red(given):
    assert answer_texts(given) == ["red"] * 3
    assert VOCABULARY.encode(given).tolist() == [0, 0, np.float32(0.9)]
    assert VOCABULARY.unmatched(given) == []
    assert VOCABULARY.coverage([given]).without_label == 0
    assert AnswerVocabulary.from_answers([given], 1).answers == ("red",)
    batch = collator()([row(answers=given)])
    assert batch["labels"].tolist() == [[0, 0, np.float32(0.9)]]
    entry = {"question_id": 1, "image_id": 2, "question": "What color?"}
    assert question_row(entry, given, "x")["answers"] == ["red"] * 3


@pytest.mark.parametrize(
    "given", [None, [], (), np.array([]), {"answer": []}], ids=["None", "list", "tuple", "array", "dict"]
)
def test_no_answers(given):
    assert answer_texts(given) == []
    assert not VOCABULARY.encode(given).any()
    batch = collator()([row(answers=given), row(1)])
    assert batch["labels"].tolist() == [[0, 0, 0], [1, 0, 0]]
    assert batch["annotated"] == [False, True]


WRONG = {
    "text": ("red", "answers is the text 'red'"),
    "numpy text": (np.str_("red"), "answers is the text 'red'"),
    "bytes": (b"red", r"answers is b'red', a bytes"),
    "array of one text": (np.array("red"), r"answers is array\('red'"),
    "number": (3, "answers is 3, a int"),
    "numbers": (["red", 3], r"answers\[1\] is 3, which could be a count or the index of a class"),
    "truth value": ([True], r"answers\[0\] is True, which could be"),
    "array of numbers": (np.array([1, 2]), r"answers\[0\] is .*1.*, which is not text"),
    "None inside": (["red", None], r"answers\[1\] is None, which is not text"),
    "number in dict": ([{"answer": 2}], r"answers\[0\] is 2, which could be"),
    "one dict": ({"answer": "red", "answer_id": 1}, r"answers is the dict \{'answer': 'red'"),
    "other dict": ([{"raw_answer": "red"}], r"answers\[0\] has no 'answer' but \['raw_answer'\]"),
    "nested": ([["red"], ["red"]], r"answers\[0\] is \['red'\], which is not text"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused_is_quoted_everywhere(case):
    given, message = WRONG[case]
    uses = [
        VOCABULARY.encode,
        VOCABULARY.unmatched,
        lambda answers: VOCABULARY.coverage([["red"], answers]),
        lambda answers: AnswerVocabulary.from_answers([["red"], answers], 1),
        lambda answers: collator()([row(7), row(answers=answers)]),
    ]
    if not isinstance(given, str):  # the split takes one text per row
        uses.append(lambda answers: changing_prior_split(["Is it?", "What?"], ["red", answers]))
    for use in uses:
        with pytest.raises(ValueError, match=message):
            use(given)
    with pytest.raises(InvalidAnnotation, match=message) as caught:
        question_row({"question_id": 1, "image_id": 2, "question": "What?"}, given, "file, question 1")
    assert caught.value.reason == "answer is not text"
    with pytest.raises(ValueError, match="question 1: answers"):
        AnswerVocabulary.from_answers([["red"], given], 1)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ("red", "the classes: answers is the text 'red'"),
        (["red", 2], r"the classes: answers\[1\] is 2"),
        ({"no": 1, "yes": 0}, r"answers is a dict of 2; .*sorted\(label2id"),
    ],
)
def test_classes_are_texts_in_order(answers, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        AnswerVocabulary(answers)
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"answers": answers, "scoring": "auto", "raw": False}))
    with pytest.raises(ValueError, match=r"answers\.json is not an answer vocabulary"):
        AnswerVocabulary.load(path)


def test_a_column_is_no_question():
    for given in ("red", {"answers": ["red"]}):
        with pytest.raises(ValueError, match="give the answers of each question"):
            AnswerVocabulary.from_answers(given, 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_saved_vocabulary_in_any_utf(encoding, tmp_path):
    path = tmp_path / "answers.json"
    AnswerVocabulary(("café", "no")).save(path)
    path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)
    assert AnswerVocabulary.load(path).answers == ("café", "no")


def test_split_takes_official_answers_and_refuses_what_is_no_question():
    questions = [f"What color is thing {number}?" for number in range(40)]
    texts = ["red", "blue"] * 20
    official = [[{"answer": text}] * 3 for text in texts]
    assert changing_prior_split(questions, official, seed=3) == changing_prior_split(questions, texts, seed=3)
    with pytest.raises(ValueError, match="the question of row 1 is 5, not text"):
        changing_prior_split(["What?", 5], ["red", "blue"])
    with pytest.raises(ValueError, match="questions is one text"):
        changing_prior_split("What", ["red"] * 4)
