"""The recipes of SOrT and SQuINT: weights, units, and the loss of a batch of whole groups."""

import json

import pytest
import torch
from tiny import explain
from toy_vqa import region_batch, region_family, region_model

from hf_guidance import recipes
from hf_guidance.attributions import InputXGradient
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import AnswerLoss, AttentionSQuINT, ContrastiveSOrT, RoleAnswerLoss

LAYER = "classifier.1"


def batch_of(groups, size):
    batch = region_batch(images=groups * size)
    return batch | {"role": list(range(size)) * groups, "group": [g for g in range(groups) for _ in range(size)]}


def run(guidance, batch):
    forward = explain(
        region_model("updn"), region_family("updn"), batch, *(term.objective for term in guidance.values())
    )
    return forward, guidance(forward)[0]


def test_published_weights():
    paper, official = recipes.sort(), recipes.sort("official")
    assert paper["task"].objective == RoleAnswerLoss(role_weights=(2.27, 2.27, 0.0003))
    assert paper["sort"].objective == ContrastiveSOrT(InputXGradient("fusion"))
    assert (paper["task"].weight, paper["sort"].weight) == (3, 3)
    assert official["task"].objective == RoleAnswerLoss(role_weights=(0.33, 0.33, 0.33))
    vectors = InputXGradient("fusion")
    assert official["sort"].objective == ContrastiveSOrT(vectors, hinge="batch", times_answers=True)
    assert official["sort"].weight == pytest.approx(0.003)
    assert recipes.sort(times_answers=True)["sort"].objective.times_answers
    assert not recipes.sort("official", times_answers=False)["sort"].objective.times_answers
    last = recipes.sort_only_sub_questions("official", questions=3)["sort"]
    assert last.objective == ContrastiveSOrT(vectors, irrelevant=False, times_answers=True)
    assert last.weight == pytest.approx(0.003)
    squint = recipes.squint(5.0, 0.5)
    assert squint["task"].objective == RoleAnswerLoss(role_weights=(1.0, 0.5, 0.0), alone=1.0)
    assert (squint["task"].weight, squint["squint"].weight) == (2, 10)


def test_the_step_is_equation_3_averaged_over_triples():
    guidance = recipes.sort(layer=LAYER)
    forward, value = run(guidance, batch_of(3, 3))
    answers = AnswerLoss("sigmoid")(forward).unflatten(0, (3, 3)).mean(0)
    contrast = ContrastiveSOrT(InputXGradient(LAYER))(forward)[::3].mean()
    whole = contrast + (answers * torch.tensor([2.27, 2.27, 0.0003], dtype=answers.dtype)).sum()
    assert torch.allclose(value, whole, rtol=1e-12)


def test_the_steps_of_pairs():
    batch = batch_of(4, 2)
    for guidance, objective, weights, factor in (
        (
            recipes.sort_only_sub_questions(layer=LAYER),
            ContrastiveSOrT(InputXGradient(LAYER), False),
            (2.27, 2.27),
            1.0,
        ),
        (recipes.squint(7.0, 0.5), AttentionSQuINT(), (1.0, 0.5), 7.0),
    ):
        forward, value = run(guidance, batch)
        answers = AnswerLoss("sigmoid")(forward).unflatten(0, (4, 2)).mean(0)
        whole = factor * objective(forward)[::2].mean()
        whole = whole + (answers * torch.tensor(weights, dtype=answers.dtype)).sum()
        assert torch.allclose(value, whole, rtol=1e-12)


@pytest.mark.parametrize(
    "guidance",
    [recipes.sort(), recipes.sort("official", "classifier.1"), recipes.sort_only_sub_questions(), recipes.squint(3.0)],
)
def test_way_to_json_and_back(guidance):
    assert Guidance.from_dict(json.loads(guidance.to_json())) == guidance


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: recipes.sort("code"), r"weighting='code' is unknown; choose one of \['paper', 'official'\]"),
        (lambda: recipes.sort(layer=""), r"InputXGradient\(layer=''\): give a name"),
        (lambda: recipes.sort_only_sub_questions(questions=4), r"questions=4 is unknown; choose one of \[2, 3\]"),
        (lambda: recipes.squint(-1.0), r"squint\(attention=-1\.0\): give a finite number >= 0"),
        (lambda: recipes.squint(1.0, float("nan")), r"squint\(sub=nan\)"),
        (lambda: recipes.squint(1.0, questions=1), r"questions=1 is unknown"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
