"""HINT for captions: its terms and weights, on a batch."""

import pytest
from tiny import explain, parameter_gradients
from toy_captions import caption_batch, captioner

from hf_guidance import Guidance, recipes
from hf_guidance.attributions import AttentionWeights, Gradient, WordLogit
from hf_guidance.families import family_of


def test_terms_and_weights():
    guidance = recipes.hint_captions()
    assert (guidance["task"].weight, guidance["hint"].weight) == (10.0, 1.0)
    assert guidance["hint"].objective.attribution == Gradient(target=WordLogit())
    assert recipes.hint_captions(tokens="sum")["hint"].objective.attribution.target == WordLogit("sum")
    assert recipes.hint_captions(attention=True)["hint"].objective.attribution == AttentionWeights()


@pytest.mark.parametrize("options", [{}, {"tokens": "sum"}, {"attention": True}], ids=str)
def test_a_step_and_its_file(options, tmp_path):
    guidance, model = recipes.hint_captions(task=2.0, **options), captioner()
    terms = [term.objective for term in dict(guidance.items()).values()]
    loss, logs = guidance(explain(model, family_of(model), caption_batch(), *terms), None)
    assert all(gradient.isfinite().all() for gradient in parameter_gradients(loss, model))
    assert float(logs["loss/hint"]) > 0
    guidance.save(tmp_path)
    assert Guidance.load(tmp_path) == guidance


def test_the_control_reads_random_importance():
    control = recipes.random_supervision(recipes.hint_captions())
    batch = caption_batch()
    batch["random_importance"] = batch["importance"].flip(0)
    model = captioner()
    first, second = (
        guidance(explain(model, family_of(model), batch, *[t.objective for _, t in guidance.items()]), None)[0]
        for guidance in (recipes.hint_captions(), control)
    )
    assert float(first.detach()) != float(second.detach())


@pytest.mark.parametrize(
    ("options", "message"), [({"task": -1.0}, r"hint_captions\(task=-1.0\)"), ({"tokens": "all"}, "tokens='all'")]
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        recipes.hint_captions(**options)
