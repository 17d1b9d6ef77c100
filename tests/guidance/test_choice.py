"""Attributions, guidance and recipes by the names that a command line gives."""

from __future__ import annotations

import pytest

from hf_guidance import Guidance, Term, recipes
from hf_guidance.attributions import GradCAM, IntegratedGradients
from hf_guidance.guidance.choice import attribution_by_name, one_term
from hf_guidance.objectives import Energy, RightReasons
from hf_guidance.recipes.by_name import recipe_by_name, recipe_names


def test_names_and_options_make_the_objects():
    assert attribution_by_name("GradCAM") == GradCAM()
    made = attribution_by_name("IntegratedGradients", "mid1", {"steps": 2})
    assert made == IntegratedGradients(layer="mid1", steps=2)
    guidance = one_term("RightReasons", made, weight=0.5, reduction="batch")
    assert guidance.to_dict() == Guidance(rightreasons=Term(RightReasons(made), 0.5, "batch")).to_dict()
    assert one_term("Energy", GradCAM(), options={"grid": "attribution"})["energy"].objective == Energy(
        GradCAM(), grid="attribution"
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("GradCM", {}, "GradCAM"),
        ("LabelLogit", {}, "no attribution"),
        ("GradCAM", {"steps": 3}, "has no field 'steps'"),
    ],
)
def test_names_and_fields_that_do_not_exist_are_told(name, options, message):
    with pytest.raises(ValueError, match=message):
        attribution_by_name(name, "final", options)


def test_recipes_by_name():
    assert {"visfis", "hint", "task_only"} <= set(recipe_names())
    assert recipe_by_name("hint", "lxmert").to_dict() == recipes.hint(model="lxmert").to_dict()
    assert recipe_by_name("task_only", "updn").to_dict() == recipes.task_only().to_dict()
    with pytest.raises(ValueError, match="recipe='model_guidance' is unknown"):
        recipe_by_name("model_guidance", "updn")
    with pytest.raises(ValueError, match=r"has no option 'datset'; it has \['model', 'dataset', 'variant'\]"):
        recipe_by_name("visfis", "updn", {"datset": "gqa"})


def test_every_recipe_is_made_by_its_name_alone():
    for name in recipe_names():
        assert isinstance(recipe_by_name(name, "updn"), Guidance)
