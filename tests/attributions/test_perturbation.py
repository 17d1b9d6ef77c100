"""Perturbation methods and ExpectedGradients against loops and closed forms, in float64."""

import itertools
import math

import pytest
import torch
from sklearn.linear_model import Ridge
from tiny import explain, parameter_gradients, relative_error
from torch import nn
from toy_vqa import OBJECTS, TOY_FAMILY, fresh_region_model, region_batch, region_family, region_model

from hf_guidance.attributions import (
    AttentionWeights,
    AverageEffect,
    ExpectedGradients,
    IntegratedGradients,
    KeepOneIn,
    KernelSHAP,
    LabelLogit,
    LeaveOneOut,
)
from hf_guidance.attributions.kernel_shap import shapley_solution
from hf_guidance.families import RegionFamily
from hf_guidance.forward import Forward
from hf_guidance.views import FULL, Coalitions, OneBox, View, negative_ones, zeros


class Additive(nn.Module):
    """Every box adds its own logits: the effect of a box is known."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 6, dtype=torch.float64)

    def forward(self, visual_feats):
        return {"logits": self.head(visual_feats).sum(1)}


ADDITIVE = RegionFamily(layers={}, inputs=("visual_feats",))


def effects(model, batch, fill):
    """(images, objects): logit of the target with the box minus with the fill in its place."""
    logits = model.head(batch["visual_feats"]) - model.head(torch.full_like(batch["visual_feats"], fill))
    return logits.gather(2, batch["target"][:, None, None].expand(-1, OBJECTS, 1))[..., 0]


@pytest.mark.parametrize("replace", [negative_ones, zeros])
@pytest.mark.parametrize("method", [LeaveOneOut, KeepOneIn, lambda **k: KernelSHAP(samples=31, **k)])
def test_effects_of_an_additive_model(method, replace):
    model, batch, method = Additive(), region_batch(), method(replace=replace)
    maps = explain(model, ADDITIVE, batch, method).attribution(method)
    # The ridge of KernelSHAP takes its part.
    assert relative_error(maps, effects(model, batch, -1.0 if replace is negative_ones else 0.0)) < 2e-3


@pytest.mark.parametrize("cls", [LeaveOneOut, KeepOneIn])
def test_one_box_methods_are_a_loop(cls):
    model, batch = region_model("toy"), region_batch()
    maps = explain(model, TOY_FAMILY, batch, cls()).attribution(cls())
    for image, box in itertools.product(range(3), range(OBJECTS)):
        features = batch["visual_feats"][image : image + 1]

        def score(keep, image=image, features=features):
            edited = torch.where(keep[None, :, None], features, -1.0)
            return model(edited, batch["question"][image : image + 1])["logits"][0, batch["target"][image]]

        one = torch.arange(OBJECTS) == box
        everything = torch.ones(OBJECTS, dtype=torch.bool)
        expected = score(everything) - score(~one) if cls is LeaveOneOut else score(one) - score(~everything)
        assert abs(maps[image, box] - expected) < 1e-12


@pytest.mark.parametrize("budget", [1, 2, 4, 5, 9, None])
@pytest.mark.parametrize("cls", [LeaveOneOut, KeepOneIn])
def test_a_budget_explains_a_part_of_the_boxes_as_the_whole_would(cls, budget):
    model, batch = region_model("updn"), region_batch()
    whole = explain(model, region_family("updn"), batch, cls()).attribution(cls())
    maps = explain(model, region_family("updn"), batch, cls(budget=budget)).attribution(cls(budget=budget))
    drawn = maps != 0
    if budget is None or budget >= OBJECTS:
        assert drawn.all()
    else:
        assert (drawn.sum(1) <= budget).all()
        assert drawn.any(1).all()
    assert relative_error(maps[drawn], whole[drawn].detach()) < 1e-12


@pytest.mark.parametrize(
    ("method", "stopped"),
    [(LeaveOneOut(), "full"), (KeepOneIn(), "null"), (KernelSHAP(samples=7), "null")],
    ids=["LOO", "KOI", "SHAP"],
)
def test_no_gradient_through_the_full_or_null_input(method, stopped):
    """The gradient is the one of the formula with that score as a number."""
    model, batch = region_model("toy"), region_batch()
    forward = explain(model, TOY_FAMILY, batch, method)
    ours = parameter_gradients(forward.attribution(method).square().sum(), model)
    views = method.views
    scores = forward.scores(LabelLogit(), views[0])
    if stopped == "full":
        maps = (forward.scores(LabelLogit()).detach() - scores).T
    else:
        change = (scores - forward.scores(LabelLogit(), views[1]).detach()).T
        maps = change if method == KeepOneIn() else change @ shapley_solution(forward.keep(views[0])[:, 0]).T
    for mine, theirs in zip(ours, parameter_gradients(maps.square().sum(), model), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-12)


def test_the_official_shap_lets_gradients_through_the_null_input():
    model, batch, found = region_model("toy"), region_batch(), []
    for variant in ("paper", "official"):
        torch.manual_seed(0)
        method = KernelSHAP(samples=7, variant=variant)
        maps = explain(model, TOY_FAMILY, batch, method).attribution(method)
        found.append((maps.detach(), parameter_gradients(maps.sum(), model)))
    assert torch.equal(found[0][0], found[1][0])
    assert not all(torch.allclose(mine, theirs) for mine, theirs in zip(found[0][1], found[1][1], strict=True))


@pytest.mark.parametrize("samples", [5, 9, 10, 31])
def test_shap_is_a_weighted_ridge_regression(samples):
    """As scikit-learn solves it, with the kernel written out here."""
    model, batch, method = region_model("toy"), region_batch(), KernelSHAP(samples=samples)
    forward = explain(model, TOY_FAMILY, batch, method)
    maps = forward.attribution(method).detach()
    keep = forward.keep(method.views[0])[:, 0].numpy()
    scores, null = (forward.scores(LabelLogit(), view).detach().numpy() for view in method.views)
    full = 5 if samples < 10 else 10
    weights = [full if k == 5 else 20 * 4 / (math.comb(5, k) * k * (5 - k)) for k in keep.sum(1)]
    for row in range(3):
        regression = Ridge(alpha=1e-3, fit_intercept=False).fit(keep, scores[:, row] - null[0, row], weights)
        assert relative_error(maps[row], torch.from_numpy(regression.coef_)) < 1e-9


def exact_shapley(scores, places):
    """By the definition: scores of every set of places to the mean gain of each place over all orders."""
    values = torch.zeros(places, dtype=torch.float64)
    for place in range(places):
        for size in range(places):
            share = math.factorial(size) * math.factorial(places - size - 1) / math.factorial(places)
            for others in itertools.combinations([p for p in range(places) if p != place], size):
                values[place] += share * (scores[frozenset({*others, place})] - scores[frozenset(others)])
    return values


@pytest.mark.parametrize("samples", [31, 32, 100])
def test_shap_with_a_large_full_weight_is_the_shapley_value(samples):
    model, batch, method = region_model("toy"), region_batch(), KernelSHAP(samples=samples, full_weight=1e6)
    forward = explain(model, TOY_FAMILY, batch, method)
    maps = forward.attribution(method).detach()
    assert len(forward.keep(method.views[0])) == min(samples, 32)
    subsets = [frozenset(s) for size in range(6) for s in itertools.combinations(range(OBJECTS), size)]
    kept = torch.tensor([[place in subset for place in range(OBJECTS)] for subset in subsets])
    for row in range(3):
        edited = torch.where(kept[:, :, None], batch["visual_feats"][row], -1.0)
        question = batch["question"][row].expand(len(subsets), -1)
        logits = model(visual_feats=edited, question=question)["logits"].detach()[:, batch["target"][row]]
        scores = dict(zip(subsets, logits, strict=True))
        assert torch.allclose(maps[row], exact_shapley(scores, OBJECTS), rtol=0, atol=1e-4)
        change = scores[frozenset(range(OBJECTS))] - scores[frozenset()]
        assert abs(maps[row].sum() - change) < 1e-4


def test_shap_is_not_additive_by_default():
    model, batch, method = region_model("toy"), region_batch(), KernelSHAP(samples=31)
    forward = explain(model, TOY_FAMILY, batch, method)
    change = forward.scores(LabelLogit()) - forward.scores(LabelLogit(), method.views[1])[0]
    assert (forward.attribution(method).sum(1) - change).abs().max() > 1e-2


def test_fewer_samples_than_boxes_explain_as_many_boxes():
    model, batch, method = Additive(), region_batch(), KernelSHAP(samples=3)
    maps = explain(model, ADDITIVE, batch, method).attribution(method)
    drawn = maps.any(0)
    assert drawn.sum() == 3
    assert (maps != 0).sum() == 9
    assert relative_error(maps[:, drawn], effects(model, batch, -1.0)[:, drawn]) < 0.01


def test_the_average_effect_is_a_difference_of_means():
    model, batch, method = region_model("toy"), region_batch(), AverageEffect(samples=9)
    forward = explain(model, TOY_FAMILY, batch, method)
    maps, (view,) = forward.attribution(method), method.views
    keep, scores = forward.keep(view)[:, 0], forward.scores(LabelLogit(), view)
    for box in range(OBJECTS):
        expected = scores[keep[:, box]].mean(0) - scores[~keep[:, box]].mean(0)
        assert relative_error(maps[:, box], expected.detach()) < 1e-12


def test_two_samples_flip_one_box():
    model, batch, method = Additive(), region_batch(), AverageEffect(samples=2)
    maps = explain(model, ADDITIVE, batch, method).attribution(method)
    flipped = maps.any(0)
    assert flipped.sum() == 1
    assert relative_error(maps[:, flipped], effects(model, batch, -1.0)[:, flipped]) < 1e-12


def test_expected_gradients_are_integrated_gradients_in_the_mean():
    model, batch = region_model("toy"), region_batch()
    expected, exact = ExpectedGradients(samples=4000), IntegratedGradients(steps=200, baseline=negative_ones)
    torch.manual_seed(0)
    with torch.no_grad():
        forward = explain(model, TOY_FAMILY, batch, expected, exact)
        assert relative_error(forward.attribution(expected), forward.attribution(exact)) < 0.05


def test_the_official_expected_gradients_have_no_factor():
    model, batch = region_model("toy"), region_batch()
    paper, official = ExpectedGradients(samples=3), ExpectedGradients(samples=3, variant="official")
    forward = explain(model, TOY_FAMILY, batch, paper, official)
    slope = forward.gradient("input", LabelLogit(), paper.path).mean(0)
    assert paper.path == official.path
    assert torch.allclose(forward.attribution(official), slope.sum(1))
    assert torch.allclose(forward.attribution(paper), ((batch["visual_feats"] + 1).transpose(1, 2) * slope).sum(1))


def test_attention_is_the_models_own_and_costs_no_other_call():
    model, batch, calls = fresh_region_model("updn"), region_batch(), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    maps = explain(model, region_family("updn"), batch, AttentionWeights()).attribution(AttentionWeights())
    assert len(calls) == 1
    assert torch.allclose(maps.sum(1), torch.ones(3, dtype=torch.float64))
    lxmert = region_model("lxmert")
    maps = explain(lxmert, region_family("lxmert"), batch, AttentionWeights()).attribution(AttentionWeights())
    assert torch.allclose(maps.sum(1), torch.ones(3, dtype=torch.float64))


def test_a_model_without_attention_is_refused():
    with pytest.raises(ValueError, match=r"without attention over 'visual_feats'.*UpDn"):
        explain(Additive(), ADDITIVE, region_batch(), AttentionWeights())


@pytest.mark.parametrize("views", [2, 5])
def test_all_views_of_a_step_are_one_call(views):
    model, batch, calls = Additive(), region_batch(), []
    model.register_forward_pre_hook(lambda m, args, kwargs: calls.append(len(kwargs["visual_feats"])), with_kwargs=True)
    needs = frozenset((View(OneBox(budget=2), draw=draw), "logits") for draw in range(views))
    Forward(model, ADDITIVE, batch, needs | {(FULL, "logits")})
    assert calls == [3, 2 * 3 * views]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LeaveOneOut(budget=0), r"LeaveOneOut\(budget=0\)"),
        (lambda: KernelSHAP(samples=1), r"KernelSHAP\(samples=1\).*at least 2"),
        (lambda: KernelSHAP(full_weight=0.0), r"full_weight=0\.0.*above 0"),
        (lambda: KernelSHAP(variant="code"), r"'code'.*\['paper', 'official'\]"),
        (lambda: ExpectedGradients(samples=0), r"at least 1"),
        (lambda: ExpectedGradients(variant="x"), r"'x'.*\['path', 'paper', 'official'\]"),
        (lambda: AttentionWeights("input"), r"AttentionWeights\(layer='input'\)"),
        (lambda: AverageEffect(samples=1), r"at least 2"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_masks_depend_on_no_other_view():
    """Equal methods draw once; another draw of the coalitions is another view."""
    model, batch = region_model("toy"), region_batch()
    views = [View(Coalitions(4), draw=draw) for draw in (0, 1)]
    forward = Forward(model, TOY_FAMILY, batch, frozenset((view, "logits") for view in views))
    assert not torch.equal(forward.keep(views[0]), forward.keep(views[1]))
