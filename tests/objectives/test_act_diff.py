"""ActDiff: the distance of activations of an image and of the same with its background permuted."""

import json

import pytest
import torch
from tiny import SMOOTH_FAMILY, explain, make_batch, parameter_gradients, smooth_net, tiny_family, tiny_model

from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import ActDiff
from hf_guidance.views import negative_ones, zeros


def test_paper_has_one_distance_a_layer():
    one, other = torch.randn(2, 3, 2, 2), torch.randn(2, 5)
    value = ActDiff.loss([one, other], [torch.zeros_like(one), torch.zeros_like(other)])
    assert torch.allclose(value, (one.flatten(1).norm(dim=1) + other.norm(dim=1)) / 2)


def test_official_weighs_layers_by_their_lines():
    one, other = torch.ones(1, 3, 2, 4), torch.zeros(1, 5)
    value = ActDiff.loss([one, other], [torch.zeros_like(one), other], variant="official")
    assert value.item() == pytest.approx(6 / 7 * 2, abs=1e-5)  # six lines of length 2, one of 0


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_by_hand(variant):
    model, batch = smooth_net(), make_batch(images=2, size=(6, 7), channels=2)
    objective = ActDiff(layers=("mid1", "final", "logits"), replace=zeros, variant=variant)
    value = objective(explain(model, SMOOTH_FAMILY, batch, objective))
    inside = (batch["importance"] > 0.5)[:, None]

    def outputs(pixels):
        hidden = model.conv1(pixels)
        last = model.conv2(torch.tanh(hidden))
        return [hidden, last, model(pixels)["logits"]]

    plain, masked = outputs(batch["pixel_values"]), outputs(batch["pixel_values"] * inside)
    expected = ActDiff.loss(plain, masked, variant=variant)
    assert torch.allclose(value, expected)
    ours, theirs = (parameter_gradients(each.sum(), model) for each in (value, expected))
    for gradient, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["resnet", "convnext", "vit", "timm_swin"])
def test_a_step_on_every_named_layer(name):
    model, family, batch = tiny_model(name), tiny_family(name), make_batch() | {"annotated": [True, False, True]}
    guidance = Guidance(actdiff=Term(ActDiff(layers=("mid1", "mid2", "mid3", "final")), 0.1))
    total, logs = guidance(explain(model, family, batch, *(term.objective for term in guidance.values())))
    assert logs["loss/actdiff"] > 0
    gradients = parameter_gradients(total, model)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    with torch.no_grad():
        forward = explain(model, family, batch, *(term.objective for term in guidance.values()))
        assert torch.isfinite(guidance(forward)[0])


def test_nothing_to_permute_is_no_loss_and_nothing_inside_does_not_count():
    model, batch = smooth_net(), make_batch(images=2, size=(4, 5), channels=2)
    objective = ActDiff(replace=negative_ones)
    batch["importance"][0] = 1
    batch["importance"][1] = 0
    forward = explain(model, SMOOTH_FAMILY, batch, objective)
    assert objective.rows(forward).tolist() == [1, 0]
    value = objective(forward)
    assert value[0] == 0
    assert all(torch.isfinite(gradient).all() for gradient in parameter_gradients(value.sum(), model))


def test_draws_follow_the_seed():
    model, batch = smooth_net(), make_batch(images=2, size=(6, 7), channels=2)
    values = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        objective = ActDiff()
        values.append(objective(explain(model, SMOOTH_FAMILY, batch, objective)))
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


@pytest.mark.parametrize("layers", [(), ("input",), ("attention",), ("class_map",), "final", ("",), (3,)])
def test_layers_that_are_refused(layers):
    with pytest.raises(ValueError, match=r"ActDiff\(layers=.*'final'"):
        ActDiff(layers=layers)


def test_way_to_json_and_back():
    guidance = Guidance(actdiff=ActDiff(layers=("mid1", "logits"), threshold=0.3, variant="official"))
    again = Guidance.from_dict(json.loads(guidance.to_json()))
    assert again == guidance
    assert again["actdiff"].objective.layers == ("mid1", "logits")
