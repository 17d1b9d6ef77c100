"""Changing-prior splits: the official groups, and priors that do change."""

import json
from collections import Counter

import datasets
import numpy as np
import pytest

from hf_guidance.data.questions.prior_shift import changing_prior_split, id_sizes, prior_groups

FILE = "visfis/ood_grouping"


@pytest.fixture
def rows():
    draws = np.random.default_rng(0)
    starts = ("What color is the", "Is there a red", "How many big round", "Are there any old")
    things = [f"thing{number}" for number in range(40)]
    questions = [f"{starts[draws.integers(4)]} {things[draws.integers(40)]}?" for _ in range(2000)]
    answers = [("yes", "no", "2", "red")[index] for index in draws.choice(4, 2000, p=[0.5, 0.3, 0.15, 0.05])]
    return questions, answers


@pytest.mark.parametrize("case", [0, 1])
def test_groups_are_the_official_ones(golden, agree, case):
    data = golden(FILE)
    entries = json.loads(str(data[f"c{case}__questions_json"]))
    groups = prior_groups([entry["question"] for entry in entries], [entry["answer"] for entry in entries])
    expected = json.loads(str(data[f"c{case}__groups_json"]))
    assert {"|".join(key): indices for key, indices in groups.items()} == expected
    sizes = data[f"c{case}__id_split_sizes_train_dev_testid"]
    agree(f"{FILE} (sizes)", np.array(id_sizes(60)), sizes, 0)


@pytest.mark.parametrize("soft", [True, False])
def test_parts_hold_every_row_once(rows, soft):
    split = changing_prior_split(*rows, soft=soft, seed=3)
    assert sorted(index for part in split.parts().values() for index in part) == list(range(2000))
    assert len(split.test_ood) > 0.15 * 2000
    inside = 2000 - len(split.test_ood)
    assert (len(split.train), len(split.dev), len(split.test_id)) == id_sizes(inside)
    assert split == changing_prior_split(*rows, soft=soft, seed=3)
    assert split != changing_prior_split(*rows, soft=soft, seed=4)


def shares(rows, indices, question_start):
    counts = Counter(rows[1][index] for index in indices if rows[0][index].startswith(question_start))
    return np.array([counts[answer] for answer in ("yes", "no", "2", "red")]) / max(1, counts.total())


@pytest.mark.parametrize("soft", [True, False])
def test_answers_given_the_question_have_another_prior_out_of_distribution_only(rows, soft):
    split = changing_prior_split(*rows, soft=soft)
    starts = ("What color is", "Is there a", "How many big", "Are there any")
    train = [shares(rows, split.train, start) for start in starts]
    moved = [np.abs(a - shares(rows, split.test_ood, start)).sum() for a, start in zip(train, starts, strict=True)]
    same = [np.abs(a - shares(rows, split.test_id, start)).sum() for a, start in zip(train, starts, strict=True)]
    assert max(same) < 0.4 < 0.9 < max(moved)


def test_hard_groups_are_never_in_both_parts(rows):
    split = changing_prior_split(*rows, soft=False)
    outside = set(split.test_ood)
    for group in prior_groups(*rows).values():
        assert outside.issuperset(group) or not outside.intersection(group)


def test_soft_groups_are_cut_one_to_four(rows):
    split = changing_prior_split(*rows)
    outside = set(split.test_ood)
    seen = set()
    for group in prior_groups(*rows).values():
        count, small = len(outside.intersection(group)), int(0.2 * len(group))
        assert count in (0, small, len(group) - small)
        seen.add(round(count / len(group), 1))
    assert {0.2, 0.8} & seen


@pytest.mark.parametrize("soft", [True, False])
def test_words_of_ood_are_covered(soft):
    """Every group has its own words, and a partner that shares them: covering them needs the partner in ID."""
    questions = [f"start{group} of w{group // 2} x{group // 2} q" for group in range(80) for _ in range(5)]
    answers = ["yes"] * len(questions)

    def uncovered(limit):
        split = changing_prior_split(questions, answers, words=1, soft=soft, uncovered_words=limit, ood_share=0.4)
        inside = {w for part in (split.train, split.dev, split.test_id) for i in part for w in questions[i].split()[2:]}
        return len({word for index in split.test_ood for word in questions[index].split()[2:]} - inside)

    assert uncovered(0) <= uncovered(10**6)
    assert uncovered(0) == 0


def test_lists_of_answers_count_by_the_commonest_normalised_one(rows):
    questions, answers = rows
    many = [["The dog", answer, answer] for answer in answers]
    assert changing_prior_split(questions, many) == changing_prior_split(questions, answers)
    dataset = datasets.Dataset.from_dict({"question": questions, "answers": many})
    parts = changing_prior_split(dataset["question"], dataset["answers"]).of(dataset)
    assert list(parts) == ["train", "dev", "test_id", "test_ood"]
    assert sum(map(len, parts.values())) == 2000


def test_what_cannot_be_split():
    with pytest.raises(ValueError, match="leave a part empty"):
        changing_prior_split(["Is it?"] * 4, ["yes"] * 4, soft=False)
    with pytest.raises(ValueError, match="leave a part empty"):
        changing_prior_split([], [])
    with pytest.raises(ValueError, match="2 questions and 1 answers"):
        changing_prior_split(["a", "b"], ["yes"])
    with pytest.raises(ValueError, match="ood_share=1"):
        changing_prior_split(["a"], ["yes"], ood_share=1)
