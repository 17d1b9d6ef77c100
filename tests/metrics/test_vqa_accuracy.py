import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from hf_guidance.data.questions.answers import normalize_answer

RAW = [
    "yes", "Yes.", "the dog", "A Dog", "two", "none", "red, blue", "red,blue", "1,000", "dont know", "couldn'tve", "u.s.a",
    "3.5", "3. 5", "black/white", "black / white", "  tea \n", "it's", "somebody'd", "tic-tac", "\"why\"?", "ten a day",
    "the", "",
]  # fmt: skip


def by_nines(prediction, answers):
    """The definition: the mean over every subset that lacks one annotator."""
    subsets = [answers[:out] + answers[out + 1 :] for out in range(len(answers))]
    return sum(min(subset.count(prediction) / 3, 1) for subset in subsets) / len(subsets)


@pytest.mark.parametrize("annotators", [2, 3, 5, 10])
def test_matches_the_definition(load, annotators):
    rng = np.random.default_rng(annotators)
    predictions = rng.choice(["cat", "dog", "bird"], 40).tolist()
    references = rng.choice(["cat", "dog", "owl"], (40, annotators)).tolist()
    expected = sum(map(by_nines, predictions, references)) / 40
    found = load("vqa_accuracy").compute(predictions=predictions, references=references)
    assert found["vqa_accuracy"] == pytest.approx(expected, rel=1e-12)


def test_scores_of_ten_annotators(load):
    """0, 0.3, 0.6, 0.9, 1 for 0, 1, 2, 3 and more who agree."""
    metric = load("vqa_accuracy")
    for count, score in enumerate([0, 0.3, 0.6, 0.9, 1, 1, 1, 1, 1, 1, 1]):
        found = metric.compute(predictions=["x"], references=[["x"] * count + ["y"] * (10 - count)])
        assert found["vqa_accuracy"] == pytest.approx(score)


def test_single_answer_is_exact_match(load):
    metric = load("vqa_accuracy")
    assert metric.compute(predictions=["The dog", "2"], references=["dog", ["three"]]) == {"vqa_accuracy": 0.5}


def test_normalises_as_the_library(load):
    """The file stands alone, so it repeats hf_guidance.data.questions.answers; they must not drift apart."""
    metric = load("vqa_accuracy")
    for one, other in itertools.product(RAW, RAW):
        same = normalize_answer(one) == normalize_answer(other)
        assert metric.compute(predictions=[one], references=[[other]])["vqa_accuracy"] == same, (one, other)


def test_normalises_as_the_official_code(load):
    path = Path(__file__).parents[3] / "shared" / "golden" / "visfis" / "text_and_softscores.npz"
    if not path.exists():
        pytest.skip(f"golden data is absent: {path.name} lies outside of this repository")
    data = np.load(path)
    raw, normal = (json.loads(str(data[f"c0__{name}_answers_json"])) for name in ("raw", "normalised"))
    assert load("vqa_accuracy").compute(predictions=raw, references=normal, unanimous="raw")["vqa_accuracy"] < 1
    metric = load("vqa_accuracy")
    for one, other in itertools.product(raw, range(len(normal))):
        same = normal[raw.index(one)] == normal[other]
        assert metric.compute(predictions=[one], references=[[raw[other]]])["vqa_accuracy"] == same


def test_unanimous_answers_as_the_official_code(load):
    given = {"predictions": ["2", "2", "two"], "references": [["two"] * 10, ["two"] * 9 + ["2"], ["two"] * 10]}
    assert load("vqa_accuracy").compute(**given) == {"vqa_accuracy": 1.0}
    raw = load("vqa_accuracy").compute(**given, unanimous="raw")["vqa_accuracy"]
    assert raw == pytest.approx(2 / 3)
    metric = load("vqa_accuracy")
    metric.add_batch(**given)
    with pytest.raises(ValueError, match="unanimous is 'official'; allowed are"):
        metric.compute(unanimous="official")
    assert metric.compute(unanimous="raw")["vqa_accuracy"] == raw


@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        (3, ["a"], r"predictions\[1\] is 3; allowed is a string: decode labels"),
        (None, ["a"], r"predictions\[1\] is None"),
        ("a", [], r"references\[1\] is \[\]"),
        ("a", ["b", 2], r"references\[1\] is \['b', 2\]"),
        ("a", None, r"references\[1\] is None"),
    ],
)
def test_bad_rows(load, prediction, reference, message):
    metric = load("vqa_accuracy")
    metric.add(prediction="yes", reference=["yes"])
    with pytest.raises(ValueError, match=message):
        metric.add_batch(predictions=[prediction], references=[reference])
    assert metric.compute() == {"vqa_accuracy": 1.0}


def test_bad_batches(load):
    metric = load("vqa_accuracy")
    with pytest.raises(ValueError, match="2 predictions and 1 references"):
        metric.compute(predictions=["a", "b"], references=[["a"]])
    with pytest.raises(ValueError, match="predictions is of type str; allowed is a list"):
        metric.compute(predictions="yes", references=["yes"])
    with pytest.raises(ValueError, match="No answer was added"):
        metric.compute()
