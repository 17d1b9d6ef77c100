"""Attributions over boxes against numbers obtained by running the authors' code: values and gradients."""

import json

import pytest
import torch
from tiny import explain
from toy_vqa import TOY_FAMILY, ToyVQA

from hf_guidance.attributions import (
    AttentionWeights,
    AverageEffect,
    ExpectedGradients,
    Gradient,
    KeepOneIn,
    KernelSHAP,
    LeaveOneOut,
    PredictedLogit,
    SoftLabelLogits,
)
from hf_guidance.attributions.kernel_shap import shapley_solution, shapley_weights
from hf_guidance.views import FULL, Coalitions, Flip, Nothing, OneBox, Path, View

WEIGHTS = ("Wv", "Wq", "u", "Wo", "Wc")
CHANNELS = {"sum": "sum", "l1": "abs", "l2": "square"}


class Case:
    """One case of a golden file: the model, the batch, the settings and the stored arrays."""

    def __init__(self, data, index):
        # SHAP's are float32, for which the authors' inverse was run; the model is float64 throughout.
        self.arrays = {
            name.split("__", 1)[1]: torch.from_numpy(data[name].astype("float64"))
            for name in data.files
            if name.startswith(f"c{index}__") and data[name].dtype.kind != "U"
        }
        self.variant = json.loads(str(data[f"c{index}__variant"]))
        self.model = ToyVQA(self["answers"].shape[1])
        with torch.no_grad():
            for name in WEIGHTS:
                getattr(self.model, name).copy_(self[f"model_{name}"])
        self.batch = {
            "visual_feats": self["objs"].clone().requires_grad_(),
            "question": self["question"],
            "labels": self["answers"],
            "target": self["answers"].argmax(1),
        }
        self.target = PredictedLogit() if self.variant["pred"] else SoftLabelLogits()

    def __getitem__(self, name):
        return self.arrays[name]

    def explain(self, method):
        return explain(self.model, TOY_FAMILY, self.batch, method)

    def check(self, agree, file, forward, maps, tolerance=1e-10):
        """The map, and the gradient of its weighted sum in every weight and in the features."""
        agree(file, maps, self["importance"], tolerance)
        at_input = forward._calls[FULL].layers.get("input", [self.batch["visual_feats"]])[0]
        places = [getattr(self.model, name) for name in WEIGHTS] + [at_input]
        total = (self["R"] * maps).sum()
        found = torch.autograd.grad(total, places, allow_unused=True, retain_graph=True)
        scale = max(self[f"grad_R_model_{name}"].abs().max() for name in WEIGHTS)
        for name, gradient in zip([*(f"model_{name}" for name in WEIGHTS), "objs"], found, strict=True):
            expected = self[f"grad_R_{name}"]
            gradient = torch.zeros_like(expected) if gradient is None else gradient
            if name == "objs" and "alphas" in self.arrays:
                continue  # the points of a path are cut from the features, which nobody trains
            if not expected.any():
                assert gradient.abs().max() <= tolerance * scale
            else:
                agree(f"{file} (gradients)", gradient, expected, tolerance)


@pytest.mark.parametrize("index", range(14))
def test_gradient_methods(golden, agree, monkeypatch, index):
    case, file = Case(golden("visfis/feature_importance_gradient"), index), "visfis/feature_importance_gradient"
    kind = case.variant["m"]
    if kind == "gradcam":
        method = Gradient(target=case.target, channels=CHANNELS[case.variant["gt"]])
    elif kind == "updn_att":
        method = AttentionWeights(target=case.target)
    else:
        # The features' share of a point is one minus alpha.
        monkeypatch.setattr(Path, "__call__", lambda self, forward, space: (1 - case["alphas"])[:, :, None])
        method = ExpectedGradients(target=case.target, samples=case.variant["n"], variant="official")
    forward = case.explain(method)
    agree(file, forward.logits(), case["logits"])
    case.check(agree, file, forward, forward.attribution(method))
    if kind == "expected_gradient":
        # The paper prints the factor as baseline - input; arXiv 1906.10670, and the default, have input - baseline.
        for variant, sign in (("paper", 1), ("path", -1)):
            method = ExpectedGradients(target=case.target, samples=case.variant["n"], variant=variant)
            agree(file, sign * case.explain(method).attribution(method), case["importance_paper_formula_INDEP"])
        assert ExpectedGradients().variant == "path"


@pytest.mark.parametrize("index", range(8))
def test_one_box_methods(golden, agree, monkeypatch, index):
    """Values and gradients, and with them where gradients are stopped."""
    file = "visfis/feature_importance_perturbation"
    case = Case(golden(file), index)
    budget = case.variant.get("n")
    if budget is not None:
        masks = case["masks"][:budget].bool()
        monkeypatch.setattr(OneBox, "__call__", lambda self, forward, space: masks)
    method = {"LOO": LeaveOneOut, "KOI": KeepOneIn}[case.variant["m"]](target=case.target, budget=budget)
    forward = case.explain(method)
    case.check(agree, file, forward, forward.attribution(method))


@pytest.mark.parametrize("index", range(8, 16))
def test_coalition_methods(golden, agree, monkeypatch, index):
    """The right value where the authors' code mixes rows; and with its mixing its own value and gradients."""
    file = "visfis/feature_importance_perturbation"
    case = Case(golden(file), index)
    masks, count = case["masks"].bool(), case.variant["n"]
    for keep in (Coalitions, Flip):
        monkeypatch.setattr(keep, "__call__", lambda self, forward, space: masks[:, None])
    shap = case.variant["m"] == "SHAP"
    method = (
        KernelSHAP(target=case.target, samples=count, variant="official")
        if shap
        else AverageEffect(target=case.target, samples=count)
    )
    forward = case.explain(method)
    # Float32 in the authors' code, and a badly conditioned system there.
    tolerance = 1e-4 if shap else 1e-6
    agree(f"{file} (_INDEP)", forward.attribution(method), case["importance_correct_order_INDEP"], tolerance)
    scores = forward.scores(method.target, method.views[0])
    if shap:
        mixed = (scores - forward.scores(method.target, method.views[1])).flatten().reshape(-1, count)
        maps = mixed @ shapley_solution(masks).T
    else:
        mixed, inside = scores.flatten().reshape(-1, count), masks.double()
        sides = [mixed @ (side / side.sum(0).clamp_min(1)) for side in (inside, 1 - inside)]
        maps = (sides[0] - sides[1]) * (inside.any(0) & (1 - inside).any(0))
    case.check(agree, f"{file} (rows mixed as there)", forward, maps, tolerance)


@pytest.mark.parametrize("index", range(2))
def test_shapley_weights(golden, agree, index):
    data = golden("visfis/shap_kernel_weights")
    places, sizes = int(data[f"c{index}__num_objects"]), torch.from_numpy(data[f"c{index}__k"])
    agree("visfis/shap_kernel_weights", shapley_weights(sizes, places, 20), data[f"c{index}__weight"])


def test_the_null_input_is_a_view_of_nothing():
    assert KernelSHAP().views[1] == KeepOneIn().views[1] == View(Nothing())
