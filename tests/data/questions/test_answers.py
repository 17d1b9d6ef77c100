"""Answers against the official preparation's numbers; what is outside the vocabulary is counted."""

import json

import numpy as np
import pytest

from hf_guidance.data.questions.answers import _CONTRACTIONS, AnswerVocabulary, normalize_answer, soft_score

FILE = "visfis/text_and_softscores"


@pytest.fixture(params=[0, 1])
def case(golden, request):
    data = golden(FILE)
    return lambda name: json.loads(str(data[f"c{request.param}__{name}_json"]))


def answers_of(case):
    return [[given["answer"] for given in entry["answers"]] for entry in case("annotations")]


def test_normalisation_is_the_official_one(case):
    assert [normalize_answer(answer) for answer in case("raw_answers")] == case("normalised_answers")


def test_vocabulary_is_the_official_one(case):
    assert AnswerVocabulary.from_answers(answers_of(case), min_occurrence=1).label2id == case("ans2label")


@pytest.mark.parametrize("scoring", ["soft", "one"])
def test_raw_look_up_gives_the_official_targets(case, agree, scoring):
    vocabulary = AnswerVocabulary(tuple(case("ans2label")), scoring, raw=True)
    targets = case("target_soft" if scoring == "soft" else "target_fixed1")
    for given, target in zip(answers_of(case), targets, strict=True):
        expected = np.zeros(len(vocabulary))
        expected[target["labels"]] = target["scores"]
        agree(f"{FILE} (targets)", vocabulary.encode(given).astype(np.float64), expected, 1e-7)


def test_normalised_look_up_counts_what_the_raw_one_drops(case):
    """An oracle in plain loops: the score of each class is that of all annotators whose normalised answer it is."""
    vocabulary = AnswerVocabulary(tuple(case("ans2label")))
    for given in answers_of(case):
        for label, answer in vocabulary.id2label.items():
            count = sum(normalize_answer(raw) == answer for raw in given)
            assert vocabulary.encode(given)[label] == np.float32((0, 0.3, 0.6, 0.9, 1)[min(count, 4)])
    raw = AnswerVocabulary(vocabulary.answers, raw=True).coverage(answers_of(case))
    ours = vocabulary.coverage(answers_of(case))
    assert sum(ours.unmatched.values()) < sum(raw.unmatched.values())
    assert ours.questions == 6
    assert "outside the vocabulary" in str(ours)


@pytest.mark.parametrize(
    ("raw", "normalised"),
    [
        ("", ""),
        ("the", ""),
        ("None", "0"),
        ("A  Big\tdog.", "big dog"),
        ("3.5", "3.5"),
        ("black/white", "black white"),
        ("black / white", "black  white".replace("  ", " ")),
        ("t-shirt", "t shirt"),
        ("couldnt've", "couldn't've"),
        ("yall'd've", "y'all'd've"),
        ("twas", "'twas"),
        ("its", "its"),
        ("10,000 people!", "10000 people"),
    ],
)
def test_normalisation_by_hand(raw, normalised):
    assert normalize_answer(raw) == normalised
    assert normalize_answer(normalised) == normalised


def test_contractions_with_two_apostrophes_have_a_form_for_each():
    assert _CONTRACTIONS["wouldnt've"] == _CONTRACTIONS["wouldn'tve"] == "wouldn't've"
    assert "were" not in _CONTRACTIONS
    assert "wed" not in _CONTRACTIONS


def test_one_answer_counts_fully_and_ten_softly():
    vocabulary = AnswerVocabulary(("yes", "rubber"))
    assert vocabulary.encode(["rubber"]).tolist() == [0, 1]
    assert vocabulary.encode(["yes"] * 2 + ["rubber"] * 8).tolist() == [np.float32(0.6), 1]
    assert vocabulary.encode(["zebra"]).tolist() == [0, 0]
    assert vocabulary.unmatched(["zebra", "yes"]) == ["zebra"]
    coverage = vocabulary.coverage([["zebra"], ["Yes"], ["zebra", "yes"], []])
    assert (coverage.questions, coverage.without_label, coverage.unmatched) == (4, 2, {"zebra": 2})


def test_min_occurrence_counts_questions():
    answers = [["a cat", "cat", "dog"], ["cat"], ["dog"], ["the"]]
    assert AnswerVocabulary.from_answers(answers, 2).answers == ("cat",)
    assert AnswerVocabulary.from_answers(answers, 1).answers == ("cat", "dog")
    with pytest.raises(ValueError, match="lower min_occurrence"):
        AnswerVocabulary.from_answers(answers, 3)


def test_saved_and_loaded(tmp_path):
    vocabulary = AnswerVocabulary(("café", "no"), scoring="soft")
    vocabulary.save(tmp_path / "answers.json")
    assert AnswerVocabulary.load(tmp_path / "answers.json") == vocabulary
    assert vocabulary.id2label == {0: "café", 1: "no"}
    for content in ("[]", "{", '{"answers": "yes", "scoring": "auto", "raw": false}'):
        (tmp_path / "wrong.json").write_text(content)
        with pytest.raises(ValueError, match=r"wrong\.json is not an answer vocabulary"):
            AnswerVocabulary.load(tmp_path / "wrong.json")


def test_wrong_arguments():
    with pytest.raises(ValueError, match="twice or empty: \\['yes'\\]"):
        AnswerVocabulary(("yes", "yes"))
    with pytest.raises(ValueError, match="scoring='hard' is unknown"):
        AnswerVocabulary(("yes",), scoring="hard")
    with pytest.raises(ValueError, match="count=-1 is negative"):
        soft_score(-1)
