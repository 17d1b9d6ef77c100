"""Irrelevant questions of shapes_vqa: true, about other objects or values, and of words that do not give them away."""

from collections import Counter

import numpy as np
import pytest
from test_shapes_vqa import oracle

REASONING = {"train_size": 3000, "dev_size": 0, "test_id_size": 0, "test_ood_size": 0, "num_boxes": 6, "dims": 1}


@pytest.fixture
def reasoning(prepare):
    return list(prepare("shapes_vqa", reasoning_share=1.0, **REASONING)[0]["train"])


def last(program):
    return program[-1]["function"]


def test_they_are_true_and_about_something_else(reasoning):
    kinds = Counter()
    for row in reasoning:
        subs, others = row["sub_questions"], row["irrelevant_questions"]
        kinds[row["question_type"]] += 1
        assert 0 <= len(others) <= len(subs)
        texts = [one["question"] for one in [row, *subs, *others]]
        assert len(set(texts)) == len(texts)
        assert Counter(last(one["program"]) for one in others) <= Counter(last(one["program"]) for one in subs)
        named = {(step["function"], step["value"]) for step in row["program"] if step["value"]}
        for one in others:
            assert oracle(one["program"], row["scene"]) == one["answer"], one["question"]
            if last(one["program"]) == "exist":
                assert not {(step["function"], step["value"]) for step in one["program"] if step["value"]} & named
                assert one["answer"] in {sub["answer"] for sub in subs}
            else:  # another object: none of its boxes is one that the reasoning question needs
                needed = np.array(row["importance"]) > 1 - 1e-6
                assert not (needed & (np.array(one["importance"]) > 1 - 1e-6)).any()
    assert len(kinds) == 10
    assert all(not kind.startswith("query_") for kind in kinds)


def test_most_reasoning_questions_have_as_many(reasoning):
    subs, others = (sum(len(row[name]) for row in reasoning) for name in ("sub_questions", "irrelevant_questions"))
    assert 0.93 * subs < others <= subs
    assert np.mean([bool(row["irrelevant_questions"]) for row in reasoning]) > 0.95


def test_by_default_rows_are_as_before_and_queries_have_none(prepare):
    sizes = {"train_size": 300, "dev_size": 0, "test_id_size": 0, "test_ood_size": 0, "num_boxes": 6, "dims": 1}
    default, given = (
        list(prepare("shapes_vqa", **sizes, **more)[0]["train"]) for more in ({}, {"reasoning_share": 0.3})
    )
    assert default == given
    for row in default:
        assert bool(row["sub_questions"]) == (not row["question_type"].startswith("query_"))
        assert row["sub_questions"] or not row["irrelevant_questions"]


@pytest.mark.parametrize(("share", "reasons"), [(0.0, 0), (1.0, 60)])
def test_share_of_reasoning_questions(share, reasons, prepare):
    rows = prepare("shapes_vqa", reasoning_share=share, **(REASONING | {"train_size": 60}))[0]["train"]
    assert sum(bool(subs) for subs in rows["sub_questions"]) == reasons


def test_share_outside_of_zero_to_one(build):
    with pytest.raises(ValueError, match=r"reasoning_share: got 1\.5; allowed: 0 to 1"):
        build("shapes_vqa", reasoning_share=1.5)


@pytest.mark.parametrize("words_of", ["the question", "the question and its reasoning question"])
def test_a_bag_of_words_does_not_tell_them_apart(words_of, reasoning):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    texts, relevant, groups = [], [], []
    for number, row in enumerate(reasoning):
        before = "".join(f"R{word} " for word in row["question"].split()) if "reasoning" in words_of else ""
        for name in ("sub_questions", "irrelevant_questions"):
            for one in row[name]:
                texts.append(before + one["question"])
                relevant.append(name == "sub_questions")
                groups.append(number)
    words = CountVectorizer(token_pattern=r"\S+", ngram_range=(1, 2)).fit_transform(texts)
    relevant, groups = np.array(relevant), np.array(groups)
    train = groups < 2 * len(reasoning) // 3
    model = LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced").fit(words[train], relevant[train])
    right = balanced_accuracy_score(relevant[~train], model.predict(words[~train]))
    assert 0.46 < right < 0.54, right  # about 2,900 questions: a standard deviation is 0.01


def test_they_make_triples(reasoning):
    from hf_guidance.data import QuestionTriples

    triples = QuestionTriples(reasoning[:50])
    assert len(triples) > 80
    assert triples[0]["sub_answers"] == [reasoning[0]["sub_questions"][0]["answer"]]
    assert triples[0]["boxes"] == reasoning[0]["boxes"]
