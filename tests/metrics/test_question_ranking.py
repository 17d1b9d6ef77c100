"""question_ranking against the released code, the paper's worked examples, a loop, and input that gives no order."""

import doctest
import itertools

import numpy as np
import pytest
import torch

ORDER = {"predictions": [0.9, 0.1], "references": [1, 0], "group": ["a", "a"]}
NAMES = ["mp_at_1", "ranking_accuracy", "mrr", "wpr"]


@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize("similarity", range(3))
def test_matches_the_released_code(load, golden, agree, case, similarity):
    data = golden("sort_ranking_metrics", "crayon_sort")
    of = {name: data[f"c{case}__{name}"] for name in ("image_id", "question_id", "is_sub", "similarity")}
    given = {
        "predictions": of["similarity"][:, similarity],
        "references": of["is_sub"],
        "group": [f"{image} {question}" for image, question in zip(of["image_id"], of["question_id"], strict=True)],
    }
    for form in ("official", "paper"):
        result = load("question_ranking").compute(**given, wpr=form)
        assert list(result) == NAMES
        names = ("code_mp1", "code_ranking_accuracy", "code_mrr", "code_wpr" if form == "official" else "paper_wpr")
        expected = [data[f"c{case}__{name}"][similarity] for name in names]
        agree("crayon_sort/sort_ranking_metrics", np.array(list(result.values())), expected, tolerance=1e-12)


def listed(lists):
    """Lists of 0 and 1, best first, as columns."""
    rows = [
        (1 - place / 10, kind, f"query {number}")
        for number, kinds in enumerate(lists)
        for place, kind in enumerate(kinds)
    ]
    return dict(zip(("predictions", "references", "group"), map(list, zip(*rows, strict=True)), strict=True))


def test_the_worked_examples_of_the_paper(load, golden, agree):
    data = golden("sort_paper_worked_examples", "crayon_sort")
    of = {name.removeprefix("c0__"): data[name] for name in data.files}
    metric = load("question_ranking")
    for lists, name, expected in (
        ("mp1_lists", "mp_at_1", "mp1"),
        ("rank_lists", "ranking_accuracy", "ranking_accuracy"),
        ("mrr_lists", "mrr", "mrr"),
    ):
        agree(
            "crayon_sort/sort_paper_worked_examples", metric.compute(**listed(of[lists].tolist()))[name], of[expected]
        )
    given = {"predictions": of["wpr_scores"], "references": of["wpr_is_relevant"], "group": ["query"] * 3}
    assert float(of["wpr_paper"]) == pytest.approx(0.1)
    for form, name in (("paper", "wpr_paper"), ("official", "wpr_code_sum")):
        agree("crayon_sort/sort_paper_worked_examples", np.array(metric.compute(**given, wpr=form)["wpr"]), of[name])


def test_the_docstring_is_a_doctest(load):
    class Loads:
        load = staticmethod(lambda path: load(path.removeprefix("metrics/")))

    text = load("question_ranking").inputs_description
    test = doctest.DocTestParser().get_doctest(text, {"evaluate": Loads}, "question_ranking", None, None)
    results = doctest.DocTestRunner().run(test)
    assert (results.failed, results.attempted) == (0, 8)


def by_hand(groups):
    """The paper's text, element by element, of groups of (similarity, 1 or 0) without ties."""
    first, ordered, reciprocal, losses, sums = [], [], [], [], []
    for questions in groups:
        ranked = sorted(questions, reverse=True)
        parallel = [each for each in ranked if each[1]] + [each for each in ranked if not each[1]]
        first.append(ranked[0][1])
        ordered.append(all(s > i for s, k in questions if k for i, other in questions if not other))
        reciprocal.append(max(1 / (place + 1) for place, each in enumerate(ranked) if each[1]))
        apart = [abs(ranked[i][0] - parallel[i][0]) for i in range(len(ranked)) if ranked[i][1] != parallel[i][1]]
        losses.append(sum(apart) / len(apart) if apart else 0)
        sums += [sum(apart)] if apart else []
    paper = [np.mean(values) for values in (first, ordered, reciprocal, losses)]
    return paper, float(np.mean(sums)) if sums else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_is_the_text_of_the_paper(load, seed):
    rng = np.random.default_rng(seed)
    groups = [
        [(float(rng.uniform(-1, 1)), kind) for kind in [1] * rng.integers(1, 4) + [0] * rng.integers(1, 6)]
        for _ in range(20)
    ]
    rows = [(*question, number) for number, questions in enumerate(groups) for question in questions]
    rows = [rows[index] for index in rng.permutation(len(rows))]
    given = dict(zip(("predictions", "references", "group"), map(list, zip(*rows, strict=True)), strict=True))
    paper, official = by_hand(groups)
    assert list(load("question_ranking").compute(**given).values()) == pytest.approx(paper, rel=1e-12)
    assert load("question_ranking").compute(**given, wpr="official")["wpr"] == pytest.approx(official, rel=1e-12)


def test_a_group_whose_questions_all_tie_gets_no_credit(load):
    for kinds in set(itertools.permutations([1, 0, 0, 1])):
        result = load("question_ranking").compute(predictions=[0.5] * 4, references=kinds, group=["a"] * 4)
        assert result == {"mp_at_1": 0, "ranking_accuracy": 0, "mrr": 1 / 3, "wpr": 0}


def test_ties_do_not_depend_on_the_order(load):
    rows = [(0.9, 1), (0.4, 1), (0.4, 0), (0.1, 0)]
    results = []
    for order in itertools.permutations(rows):
        predictions, references = zip(*order, strict=True)
        results.append(load("question_ranking").compute(predictions=predictions, references=references, group=[0] * 4))
    assert all(result == results[0] for result in results)
    assert results[0] == {"mp_at_1": 1, "ranking_accuracy": 0, "mrr": 1, "wpr": 0}


def test_a_right_order_has_no_loss(load):
    for form in ("paper", "official"):
        assert load("question_ranking").compute(**ORDER, wpr=form) == {
            "mp_at_1": 1, "ranking_accuracy": 1, "mrr": 1, "wpr": 0,
        }  # fmt: skip


def test_groups_of_one_kind_are_refused_or_left_out(load):
    given = {"predictions": [0.9, 0.1, 0.5, 0.3], "references": [1, 0, 1, 0], "group": ["a", "a", "b", "c"]}
    with pytest.raises(
        ValueError, match=r"\['b', 'c'\] have sub-questions only, or irrelevant questions only; give both"
    ):
        load("question_ranking").compute(**given)
    assert load("question_ranking").compute(**given, one_kind="drop") == load("question_ranking").compute(**ORDER)
    with pytest.raises(ValueError, match="No group has both a sub-question and an irrelevant one"):
        load("question_ranking").compute(predictions=[0.5], references=[1], group=["a"], one_kind="drop")


@pytest.mark.parametrize("make", [list, np.asarray, torch.tensor])
def test_kinds_of_columns(load, make):
    given = {"predictions": make([0.75, 0.25]), "references": make([True, False]), "group": make([3, 3])}
    assert load("question_ranking").compute(**given)["mp_at_1"] == 1
    if make is torch.tensor:
        given["predictions"] = given["predictions"].to(torch.bfloat16).requires_grad_()
        assert load("question_ranking").compute(**given)["mp_at_1"] == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"predictions": [0.9, float("nan")]}, r"predictions\[1\] is nan; give one finite number"),
        ({"predictions": [0.9, None]}, r"predictions\[1\] is None"),
        ({"predictions": [0.9, "near"]}, r"predictions\[1\] is 'near'; allowed is a finite number"),
        ({"predictions": [[0.9, 0.1], [0.5, 0.5]]}, r"predictions\[0\] is \[0.9, 0.1\]; give one finite number"),
        ({"references": [1, 2]}, r"references\[1\] is 2; allowed are 1 \(a sub-question\) and 0"),
        ({"references": [1, None]}, r"references\[1\] is None"),
        ({"references": [1]}, "2 predictions, 1 references, 2 group"),
        ({"group": "a"}, r"\['group'\] is missing or not a list"),
        ({"group": ["a", 0.5]}, r"group\[1\] is 0.5; allowed is an integer or a string"),
        ({"wpr": "sum"}, 'wpr is \'sum\'; allowed are "paper" and "official"'),
        ({"one_kind": "keep"}, 'one_kind is \'keep\'; allowed are "raise" and "drop"'),
    ],
)
def test_bad_input_is_named(load, changed, message):
    with pytest.raises(ValueError, match=message):
        load("question_ranking").compute(**(ORDER | changed))


def test_a_bad_batch_and_a_bad_option_lose_nothing(load):
    metric = load("question_ranking")
    with pytest.raises(ValueError, match="No question was added"):
        metric.compute()
    metric.add(prediction=0.9, reference=1, group="a")
    with pytest.raises(ValueError, match=r"references\[2\]"):
        metric.add_batch(predictions=[0.5, 0.5], references=[0, 3], group=["a", "a"])
    metric.add(prediction=0.1, reference=0, group="a")
    with pytest.raises(ValueError, match="wpr"):
        metric.compute(wpr="mean")
    assert metric.compute() == load("question_ranking").compute(**ORDER)
