"""vqa_consistency against the released code, a loop over pairs, and input that would give a wrong number."""

import numpy as np
import pytest
import torch

QUADRANTS = ["r_right_s_right", "r_right_s_wrong", "r_wrong_s_right", "r_wrong_s_wrong"]
PAIR = {"predictions": [1, 0], "references": [1, 1], "role": ["reasoning", "sub"], "group": ["a", "a"]}


def laid_out(scores_r, scores_s, targets_r, targets_s):
    """One reasoning question and one sub-question per row of the released code's batch."""
    count = len(scores_r)
    return {
        "predictions": np.concatenate([scores_r.argmax(1), scores_s.argmax(1)]),
        "references": np.concatenate([targets_r, targets_s]),
        "role": ["reasoning"] * count + ["sub"] * count,
        "group": [*range(count)] * 2,
    }


@pytest.mark.parametrize("case", range(5))
def test_matches_the_released_code_on_one_batch(load, golden, agree, case):
    """It takes answer 0 for the right one where no answer has a score, which labels say and scores do not."""
    data = golden("sort_consistency", "crayon_sort")
    of = {name: data[f"c{case}__{name}"] for name in ("scores_r", "scores_s", "T_r", "T_s")}
    given = laid_out(of["scores_r"], of["scores_s"], of["T_r"], of["T_s"])
    result = load("vqa_consistency").compute(**(given | {"references": given["references"].argmax(1)}))
    assert list(result) == [*QUADRANTS, "consistency", "reasoning_accuracy"]
    names = ("quad_RS", "quad_RnotS", "quad_notRS", "quad_notRnotS", "consistency", "acc_r")
    expected = [float(data[f"c{case}__{name}"]) for name in names]
    agree("crayon_sort/sort_consistency (32 bit)", np.array(list(result.values())), expected, tolerance=1e-6)
    r, s = ((of[f"scores_{kind}"].argmax(1) == of[f"T_{kind}"].argmax(1)) & of[f"T_{kind}"].any(1) for kind in "rs")
    ours = [(r & s).mean(), (r & ~s).mean(), (~r & s).mean(), (~r & ~s).mean(), (r & s).sum() / r.sum(), r.mean()]
    assert list(load("vqa_consistency").compute(**given).values()) == pytest.approx(ours, rel=1e-12)


@pytest.mark.parametrize("case", range(3))
def test_soft_accuracy_is_that_of_the_released_code(load, golden, agree, case):
    """Its answer 0 stands for unknown words, and is never predicted."""
    data = golden("sort_vqa_accuracy", "crayon_sort")
    scores, targets = data[f"c{case}__scores"], data[f"c{case}__targets"]
    scores[:, 0] = -np.inf
    result = load("vqa_consistency").compute(**laid_out(scores, scores, targets, targets), correctness="soft")
    agree("crayon_sort/sort_vqa_accuracy", np.array(result["reasoning_accuracy"]), data[f"c{case}__vqa_accuracy"])


def drawn(seed, groups=12, answers=5):
    """Groups with 0 to 4 sub-questions and soft scores, some of them all zero, in random order."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(groups):
        for role in ["reasoning", *["sub"] * int(rng.integers(5)), "irrelevant"]:
            scores = rng.choice([0, 0.3, 0.6, 0.9, 1], answers) * (rng.random() > 0.1)
            rows.append((int(rng.integers(answers)), scores.tolist(), role, number))
    rows = [rows[index] for index in rng.permutation(len(rows))]
    return dict(zip(("predictions", "references", "role", "group"), map(list, zip(*rows, strict=True)), strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("correctness", ["hard", "soft"])
def test_is_the_loop_over_all_pairs(load, seed, correctness):
    given = drawn(seed)
    rows = list(zip(*given.values(), strict=True))

    def right(prediction, scores):
        best = max(range(len(scores)), key=lambda label: (scores[label], -label))
        return scores[prediction] if correctness == "soft" else float(any(scores) and prediction == best)

    reasoning = {group: right(label, scores) for label, scores, role, group in rows if role == "reasoning"}
    pairs = [(reasoning[group], right(label, scores)) for label, scores, role, group in rows if role == "sub"]
    sums = [0.0] * 4
    for r, s in pairs:
        for index, value in enumerate((r * s, r * (1 - s), (1 - r) * s, (1 - r) * (1 - s))):
            sums[index] += value
    result = load("vqa_consistency").compute(**given, correctness=correctness)
    assert [result[name] for name in QUADRANTS] == pytest.approx([value / len(pairs) for value in sums], rel=1e-12)
    assert sum(result[name] for name in QUADRANTS) == pytest.approx(1, rel=1e-12)
    assert result["consistency"] == pytest.approx(sums[0] / (sums[0] + sums[1]), rel=1e-12)
    assert result["reasoning_accuracy"] == pytest.approx(sum(reasoning.values()) / 12, rel=1e-12)


def test_counts_are_pooled_over_batches(load):
    """One batch is consistent in 1 of 1 pairs, the other in 1 of 4: pooled 2 of 5, where a mean of ratios has 0.625."""
    metric = load("vqa_consistency")
    metric.add_batch(predictions=[1, 1], references=[1, 1], role=["reasoning", "sub"], group=[0, 0])
    metric.add_batch(
        predictions=[1, 1, 0, 0, 0], references=[1] * 5, role=["reasoning", *["sub"] * 4], group=[1] * 5
    )  # fmt: skip
    assert metric.compute()["consistency"] == 0.4


def test_questions_of_a_group_may_come_in_any_order_and_batch(load):
    metric = load("vqa_consistency")
    metric.add_batch(predictions=[0], references=[0], role=["sub"], group=["7"])
    metric.add(prediction=2, reference=[0, 0.3, 1], role="reasoning", group=7.0)
    assert metric.compute() == {
        "r_right_s_right": 1, "r_right_s_wrong": 0, "r_wrong_s_right": 0, "r_wrong_s_wrong": 0, "consistency": 1,
        "reasoning_accuracy": 1,
    }  # fmt: skip


def test_no_reasoning_question_is_right(load):
    result = load("vqa_consistency").compute(**(PAIR | {"predictions": [0, 1]}))
    assert result["consistency"] is None
    assert result["r_wrong_s_right"] == 1


def test_reasoning_questions_without_sub_questions_count_in_the_accuracy(load):
    given = {"predictions": [1, 1, 0], "references": [1, 1, 1], "role": ["reasoning", "sub", "reasoning"]}
    result = load("vqa_consistency").compute(**given, group=["a", "a", "b"])
    assert result["consistency"] == 1
    assert result["reasoning_accuracy"] == 0.5


def test_a_question_without_a_known_answer_is_wrong(load):
    """The released code takes answer 0 for the best of scores that are all 0."""
    given = PAIR | {"predictions": [1, 0], "references": [[0, 1], [0, 0]]}
    assert load("vqa_consistency").compute(**given)["r_right_s_wrong"] == 1


@pytest.mark.parametrize("make", [list, np.asarray, torch.tensor])
def test_kinds_of_scores(load, make):
    given = PAIR | {"predictions": make([1, 0]), "references": make([[0.25, 1.0], [0.5, 0.75]])}
    expected = {"r_right_s_right": 0.5, "r_right_s_wrong": 0.5, "reasoning_accuracy": 1.0}
    assert load("vqa_consistency").compute(**given, correctness="soft").items() >= expected.items()
    if make is torch.tensor:
        given["references"] = given["references"].to(torch.bfloat16)
        assert load("vqa_consistency").compute(**given, correctness="soft").items() >= expected.items()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"role": ["reasoning", "reasoning"]},
            r"\['a'\] have two reasoning questions; add each reasoning question once",
        ),
        ({"group": ["a", "b"]}, r"\['b'\] of sub-questions name no reasoning question"),
        ({"role": ["reasoning", "irrelevant"]}, "No question is a sub-question"),
        ({"role": ["reasoning", "s"]}, r"role\[1\] is 's'; allowed are 'reasoning', 'sub', 'irrelevant'"),
        ({"role": ["reasoning", None]}, r"role\[1\] is None"),
        ({"role": "sub"}, r"\['role'\] is missing or not a list"),
        ({"group": None}, r"\['group'\] is missing"),
        ({"group": ["a"]}, "2 predictions, 2 references, 2 role, 1 group"),
        ({"group": ["a", 1.5]}, r"group\[1\] is 1.5; allowed is an integer or a string"),
        ({"references": [1, None]}, r"references\[1\] is None; .*leave the question out"),
        ({"references": [1, []]}, r"references\[1\] has shape \(0,\); allowed is one score for each answer"),
        ({"references": [1, -1]}, r"references\[1\] is -1; allowed is a label, at least 0"),
        ({"references": [1, "red"]}, r"references\[1\] is 'red'; allowed are the scores of all answers, or a label"),
        (
            {"references": [1, [0.5, 1.5]]},
            r"references\[1\] holds scores from 0.5 to 1.5; allowed are numbers in \[0, 1\]",
        ),
        ({"references": [1, [0.5, float("nan")]]}, r"references\[1\] holds scores from nan"),
        (
            {"references": [[0, 1], [1]], "predictions": [1, 1]},
            r"predictions\[1\] is 1, but references\[1\] has 1 scores",
        ),
        ({"predictions": [1, -1], "references": [[0, 1], [0, 1]]}, r"predictions\[1\] is -1, but"),
        ({"predictions": [[0.5, 1.0], [1.0, 0.0]]}, r"predictions\[0\] has shape \(2,\).*argmax"),
        ({"correctness": "half"}, 'correctness is \'half\'; allowed are "hard" and "soft"'),
    ],
)
def test_bad_input_is_named(load, changed, message):
    with pytest.raises(ValueError, match=message):
        load("vqa_consistency").compute(**(PAIR | changed))


def test_a_bad_batch_and_a_bad_option_lose_nothing(load):
    metric = load("vqa_consistency")
    with pytest.raises(ValueError, match="No question was added"):
        metric.compute()
    metric.add(prediction=1, reference=1, role="reasoning", group="a")
    with pytest.raises(ValueError, match=r"references\[2\]"):
        metric.add_batch(predictions=[1, 1], references=[1, None], role=["sub", "sub"], group=["a", "a"])
    metric.add(prediction=1, reference=1, role="sub", group="a")
    with pytest.raises(ValueError, match="correctness"):
        metric.compute(correctness="medium")
    assert metric.compute()["consistency"] == 1
