"""Recipes: the weights of the papers, the way to JSON and back, and random supervision."""

import inspect
import json

import pytest
import torch
from tiny import explain, parameter_gradients
from toy_vqa import region_batch, region_family, region_model

from hf_guidance import recipes
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import AdversarialAnswerLoss, Alignment, Sufficiency
from hf_guidance.recipes.by_name import recipe_by_name, recipe_names
from hf_guidance.recipes.settings import MODELS
from hf_guidance.views import Important

WITH_MODEL = ("visfis", "scr", "simpson2019", "chang2021", "singla2022")
WITH_DATASET = ("sufficiency", "uncertainty", "invariance_da", "invariance_fi", "alignment")


def every_recipe():
    found = {}
    for variant in ("paper", "official"):
        for dataset in recipes.THRESHOLDS:
            for name in WITH_MODEL:
                for model in MODELS:
                    found[f"{name}-{model}-{dataset}-{variant}"] = getattr(recipes, name)(model, dataset, variant)
            for name in WITH_DATASET:
                found[f"{name}-{dataset}-{variant}"] = getattr(recipes, name)(dataset, variant)
        for model in MODELS:
            found[f"hint-{model}-{variant}"] = recipes.hint(model, variant)
        found[f"saliency_guided-{variant}"] = recipes.saliency_guided(variant)
    found["hint-original"] = recipes.hint(variant="original")
    found["adversarial_regularization"] = recipes.adversarial_regularization()
    return found | {name: getattr(recipes, name)() for name in ("task_only", "attention_align", "random_sufficiency")}


RECIPES = every_recipe()
FIRST = {name.split("-")[0] + ("-official" if "official" in name else ""): name for name in reversed(RECIPES)}


def weights(guidance):
    return {name: term.weight for name, term in guidance.items()}


def step(guidance, name="updn", batch=None):
    torch.manual_seed(0)
    model = region_model(name)
    batch = batch or region_batch(images=4, padding=True)
    batch |= {"random_importance": torch.rand(4, 5, generator=torch.Generator().manual_seed(5))}
    forward = explain(model, region_family(name), batch, *(term.objective for term in guidance.values()))
    total, logs = guidance(forward)
    return total, logs, parameter_gradients(total, model)


@pytest.mark.parametrize("name", RECIPES)
def test_way_to_json_and_back(name):
    guidance = RECIPES[name]
    assert Guidance.from_dict(json.loads(guidance.to_json())) == guidance


@pytest.mark.parametrize("name", FIRST.values(), ids=FIRST)
def test_a_step(name):
    adversarial = name == "adversarial_regularization"  # of the tiny models the toy has an adversary
    total, logs, gradients = step(RECIPES[name], "toy", region_batch(images=4)) if adversarial else step(RECIPES[name])
    assert torch.isfinite(total)
    assert set(logs) >= {f"loss/{term}" for term in RECIPES[name]}
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_every_recipe_is_covered():
    assert set(recipe_names()) == {name.split("-")[0] for name in RECIPES}


@pytest.mark.parametrize(
    ("model", "dataset", "variant", "uncertainty", "invariance", "alignment"),
    [
        ("updn", "clevr_xai", "paper", 1 / 28, 1 / 15, 1), ("updn", "gqa", "paper", 1 / 1842, 1 / 36, 1),
        ("lxmert", "clevr_xai", "paper", 1 / 28, 1e-3 / 15, 1e-6),
        ("updn", "gqa", "official", 1, 1, 1), ("updn", "vqa_hat", "official", 1, 0.1, 0.1),
        ("lxmert", "clevr_xai", "official", 1, 1e-3, 1e-5),
    ],
)  # fmt: skip
def test_weights_of_visfis(model, dataset, variant, uncertainty, invariance, alignment):
    """In the units of the formulas: the papers' sum over answers and boxes, the released code averages."""
    expected = {
        "task": 1,
        "sufficiency": 1,
        "uncertainty": uncertainty,
        "invariance_fi": invariance,
        "alignment": alignment,
    }
    assert weights(recipes.visfis(model, dataset, variant)) == pytest.approx(expected)


def test_both_variants_of_visfis_have_one_loss():
    """Where every row has important and unimportant boxes, and as many boxes and answers as the data set."""
    boxes, answers = 15, 28
    generator = torch.Generator().manual_seed(0)
    importance = (torch.arange(boxes) < 4).double().expand(3, boxes)
    maps = torch.randn(3, boxes, generator=generator, dtype=torch.float64)
    paper, official = (recipes.visfis("updn", "clevr_xai", variant) for variant in ("paper", "official"))
    for name in ("invariance_fi", "alignment"):
        first, second = (g[name].weight * g[name].objective.formula(maps, importance) for g in (paper, official))
        torch.testing.assert_close(first, second, rtol=1e-12, atol=0)
    assert paper["uncertainty"].weight == official["uncertainty"].weight / answers


def test_other_weights():
    assert weights(recipes.hint()) == {"task": 1, "hint": 1e-3}
    assert weights(recipes.hint("lxmert")) == {"task": 1, "hint": 1e-6}
    assert weights(recipes.hint(variant="official")) == {"task": 1, "hint": 1e-2}
    assert weights(recipes.hint(variant="original")) == weights(recipes.attention_align()) == {"task": 10, "hint": 1}
    assert weights(recipes.scr("lxmert")) == {"task": 1, "influence": 1e-6, "comparison": 1e-6}
    assert weights(recipes.scr(variant="official")) == {"task": 1, "influence": 1e-2}
    assert weights(recipes.chang2021("lxmert")) == {"task": 1, "sufficiency": 1, "invariance_fi": 1e-3 / 15}
    assert weights(recipes.chang2021("lxmert", variant="official"))["invariance_fi"] == 1e-3


@pytest.mark.parametrize("model", ["pythia", "san"])
def test_models_that_the_papers_lack_have_the_weights_of_updn(model):
    for name in recipe_names():
        for variant in ("paper", "official"):
            for dataset in ("clevr_xai", "vqa_hat"):
                known = inspect.signature(getattr(recipes, name)).parameters
                options = {k: v for k, v in {"variant": variant, "dataset": dataset}.items() if k in known}
                assert recipe_by_name(name, model, options) == recipe_by_name(name, "updn", options)
    assert recipes.hint(model, "original") == recipes.hint(variant="original")
    total, _, gradients = step(recipes.visfis(model), model)
    assert torch.isfinite(total)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_adversarial_regularization():
    task = recipes.adversarial_regularization(0.5, 0.0, "sigmoid")["task"]
    assert task == Term(AdversarialAnswerLoss("sigmoid", adversary_weight=0.5, entropy_weight=0.0))
    assert recipes.adversarial_regularization() == Guidance(task=AdversarialAnswerLoss())
    assert recipe_by_name("adversarial_regularization", "san", {"entropy_weight": 0}).guided == {}


def test_thresholds_follow_the_data_set():
    for dataset, threshold in (("clevr_xai", 0.85), ("vqa_hat", 0.55), ("gqa", 0.3), ("shapes_vqa", 0.85)):
        guidance = recipes.visfis(dataset=dataset)
        assert {term.objective.threshold for name, term in guidance.items() if name != "task"} == {threshold}


def test_the_released_shuffle_spares_the_unimportant():
    """Chang2021: its code shuffles what its paper says to keep, the paper's variant the rest."""
    paper, official = (recipes.chang2021(variant=v)["sufficiency"].objective for v in ("paper", "official"))
    assert paper.view.keep == Important(0.85)
    assert official.view.keep == Important(0.85, invert=True)


@pytest.mark.parametrize("name", ["visfis", "sufficiency", "invariance_da", "alignment", "scr", "hint", "chang2021"])
@pytest.mark.parametrize("variant", ["paper", "official"])
def test_random_supervision_reads_the_random_column_only(name, variant):
    control = recipes.random_supervision(getattr(recipes, name)(variant=variant))
    assert control == Guidance.from_dict(json.loads(control.to_json()))
    batch = region_batch(images=4, padding=True)
    total, _, gradients = step(control, batch=dict(batch))
    changed = step(control, batch=dict(batch, importance=1 - batch["importance"]))
    assert torch.equal(total, changed[0])
    assert all(torch.equal(a, b) for a, b in zip(gradients, changed[2], strict=True))


def test_random_supervision_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no term reads the column 'importance'"):
        recipes.random_supervision(Guidance(suff=Sufficiency(importance="other"), align=Alignment(importance="other")))
    for name in ("task_only", "random_sufficiency", "saliency_guided"):
        with pytest.raises(ValueError, match="no term reads the column 'importance'"):
            recipes.random_supervision(getattr(recipes, name)())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: recipes.visfis("vilt"),
            r"model='vilt' is unknown; choose one of \['updn', 'pythia', 'san', 'lxmert'\]",
        ),
        (lambda: recipes.visfis(dataset="vqa"), r"dataset='vqa' is unknown.*'clevr_xai', 'vqa_hat', 'gqa'"),
        (lambda: recipes.scr(variant="code"), "variant='code' is unknown"),
        (
            lambda: recipes.hint("lxmert", "original"),
            r"model='lxmert' is unknown; choose one of \['updn', 'pythia', 'san'\]",
        ),
        (lambda: recipes.task_only("hinge"), r"AnswerLoss\(form='hinge'\)"),
        (lambda: recipes.adversarial_regularization(-1), r"adversary_weight=-1\): give a finite number >= 0"),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
