import pytest
import torch
from tiny import SMOOTH_FAMILY, explain, fresh_model, make_batch, smooth_net, tiny_family, tiny_model
from transformers import ResNetConfig, ResNetForImageClassification

from hf_guidance.attributions import ContrastLogits, GradCAM, Gradient, InputXGradient, IntegratedGradients
from hf_guidance.families import family_of
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import L1, PPCE, Energy, Identity, RightReasons
from hf_guidance.training import term_checks
from hf_guidance.training.term_checks import TermChecks, check_terms


def check(model, family, guidance, batch=None):
    forward = explain(model, family, batch or make_batch(), *(term.objective for term in guidance.values()))
    return check_terms(guidance, forward, model.parameters())


@pytest.mark.parametrize("layer", ["input", "mid1", "mid2", "mid3", "final"])
@pytest.mark.parametrize(
    "name", ["resnet", "convnext", "vit", "deit", "swin", "timm_convnext", "timm_vit", "timm_swin"]
)
def test_terms_at_symbolic_layers_pass(name, layer):
    # Not normalised: of the 1x2 places that a tiny ConvNet ends with, a normalised map is constant.
    guidance = Guidance(guided=RightReasons(InputXGradient(layer), normalization=Identity()))
    assert check(tiny_model(name), tiny_family(name), guidance) is True


@pytest.mark.parametrize("name", ["vit", "deit"])
@pytest.mark.parametrize("method", [InputXGradient, GradCAM, Gradient])
def test_a_layer_after_which_the_gradient_is_zero_is_refused(name, method):
    layer = f"{name}.layers.3"
    with pytest.raises(
        ValueError, match=f"term 'guided'.*gradient at layer '{layer}' is zero.*class token.*'input', 'mid1'"
    ):
        check(tiny_model(name), tiny_family(name), Guidance(guided=Energy(method(layer))))


@pytest.mark.parametrize(
    ("name", "layer"), [("convnext", "convnext.encoder.stages.1"), ("timm_convnext", "timm_model.stages.1")]
)
def test_input_times_gradient_before_a_layer_norm_is_refused(name, layer):
    with pytest.raises(ValueError, match=f"cancels at layer '{layer}'.*LayerNorm"):
        check(tiny_model(name), tiny_family(name), Guidance(guided=Energy(InputXGradient(layer))))


def test_a_gradient_sum_that_cancels_is_refused():
    """Before ConvNeXt's head (mean, LayerNorm, Linear) the channels of the gradient sum to zero."""
    with pytest.raises(ValueError, match="cancels at layer 'final'"):
        check(tiny_model("convnext"), tiny_family("convnext"), Guidance(guided=Energy(Gradient("final"))))
    passing = Guidance(guided=RightReasons(Gradient("final", channels="square"), normalization=Identity()))
    assert check(tiny_model("convnext"), tiny_family("convnext"), passing)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_maps_with_one_positive_place_are_no_error(dtype):
    """The share inside is then 0 or 1, and constant; the next batch may have maps with more."""
    single = 0
    for seed in range(12):
        torch.manual_seed(seed)
        model = fresh_model("resnet")
        with torch.no_grad():
            model.classifier[1].weight.sub_(0.05)
        batch = make_batch(images=1, size=(128, 128), seed=seed)
        batch["pixel_values"] = batch["pixel_values"].to(dtype)
        guidance, family = Guidance(guided=Energy(GradCAM())), tiny_family("resnet")
        forward = explain(model.to(dtype), family, batch, *(term.objective for term in guidance.values()))
        single += int((forward.attribution(GradCAM()) > 0).sum()) == 1
        assert check_terms(guidance, forward, model.parameters()) in (True, False)
    assert single


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("layer", ["input", "final"])
def test_maps_of_any_size_move_the_model(layer, size):
    """The loss compares with boxes of ones, so it is about 1 however small the map."""
    model = fresh_model("resnet").float()
    with torch.no_grad():
        model.classifier[1].weight.mul_(size)
    batch = {name: v.float() if name == "pixel_values" else v for name, v in make_batch(size=(64, 96)).items()}
    guidance = Guidance(guided=L1(InputXGradient(layer), normalization=Identity()))
    assert check(model, tiny_family("resnet"), guidance, batch) is True


def test_what_is_not_a_number_is_no_standing_still():
    batch = make_batch()
    batch["pixel_values"][0, 0, 0, 0] = torch.nan
    model, guidance = (
        fresh_model("resnet"),
        Guidance(guided=RightReasons(InputXGradient("input"), normalization=Identity())),
    )
    assert check(model, tiny_family("resnet"), guidance, batch) is True


def test_a_flat_term_is_given_up_and_others_are_looked_at_once():
    model, batch = positive_outside_only()
    guidance = Guidance(flat=Energy(InputXGradient("input")), moving=L1(InputXGradient("input")))
    forward = explain(model, SMOOTH_FAMILY, batch, *(term.objective for term in guidance.values()))
    checks, counted = TermChecks(), []
    original = torch.autograd.grad
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.autograd, "grad", lambda *a, **k: counted.append(1) or original(*a, **k))
        for step in range(14):
            before = len(counted)
            checks(guidance, forward, model.parameters(), step)
            calls = len(counted) - before
            assert (calls > 0) == (step < 10)
        checks.reset()
        checks(guidance, forward, model.parameters(), 20)
        assert len(counted) > before


def test_a_term_that_begins_late_has_looks_of_its_own():
    """As by a schedule: ten guided steps from its first one, whatever was looked at before."""
    model, batch = positive_outside_only()
    early, late = (Energy(InputXGradient("input")) for _ in range(2))
    first, both = Guidance(early=early), Guidance(early=early, late=late)
    forward, checks, opened = explain(model, SMOOTH_FAMILY, batch, early, first["task"].objective), TermChecks(), []
    for step in range(12):
        checks(first, forward, model.parameters(), step)
    assert checks.open_terms(both) == ["late"]
    for step in range(500, 512):
        checks(both, forward, model.parameters(), step)
        opened.append(checks.open_terms(both))
    assert opened == [["late"]] * 9 + [[]] * 3


def test_a_term_that_begins_late_waits_for_a_head_of_zeros_from_its_own_first_step():
    model = fresh_model("resnet")
    with torch.no_grad():
        model.classifier[1].weight.zero_()
    family, objective = tiny_family("resnet"), Energy(InputXGradient("mid1"))
    early, late = Guidance(early=objective), Guidance(late=objective)
    forward, checks = explain(model, family, make_batch(), objective, early["task"].objective), TermChecks()
    for guidance, step in ((early, 0), (early, 9), (late, 100), (late, 109)):
        checks(guidance, forward, model.parameters(), step)
        assert checks.open_terms(guidance) == list(guidance.guided)
    for guidance, step in ((early, 10), (late, 110)):
        with pytest.raises(ValueError, match="gradient at layer 'mid1' is zero"):
            checks(guidance, forward, model.parameters(), step)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", [L1, PPCE, RightReasons])
def test_rounding_is_not_taken_for_a_gradient(loss, dtype):
    """Before a mean every place has the same gradient, so the normalised map is one everywhere, whatever the model becomes.

    Its loss is constant; of its gradient rounding may leave something that is not zero, or nothing, by the machine.
    """
    batch = {name: v.to(dtype) if name == "pixel_values" else v for name, v in make_batch().items()}
    guidance = Guidance(guided=loss(Gradient("final", channels="square")))
    judged = check(fresh_model("convnext").to(dtype), tiny_family("convnext"), guidance, batch)
    assert judged is False


def test_a_frozen_model_is_refused():
    model = smooth_net().requires_grad_(False)
    batch = make_batch(size=(6, 8), channels=2)
    for layer in ("input", "mid1"):
        with pytest.raises(ValueError, match=r"term 'guided'.*moves no parameter.*Unfreeze"):
            check(model, SMOOTH_FAMILY, Guidance(guided=Energy(InputXGradient(layer))), batch)


def test_everything_above_the_layer_frozen_still_trains_what_is_below():
    model, batch = smooth_net(), make_batch(size=(6, 8), channels=2)
    model.fc.requires_grad_(False)
    model.conv2.requires_grad_(False)
    assert check(model, SMOOTH_FAMILY, Guidance(guided=Energy(InputXGradient("mid1"))), batch)


def test_only_a_gradient_below_a_linear_head_moves_nothing():
    """The gradient at the input of a linear head is its weight: with the head frozen there is nothing to train."""
    model = fresh_model("resnet")
    model.classifier.requires_grad_(False)
    with pytest.raises(ValueError, match="moves no parameter"):
        check(model, tiny_family("resnet"), Guidance(guided=RightReasons(Gradient("final"))))


def test_weightless_terms_are_not_checked():
    guidance = Guidance(guided=Term(Energy(InputXGradient("vit.layers.3")), weight=0.0))
    assert check(tiny_model("vit"), tiny_family("vit"), guidance)


def test_maps_without_a_positive_entry_are_judged_later():
    model = fresh_model("resnet")
    with torch.no_grad():
        model.classifier[1].weight.copy_(-model.classifier[1].weight.abs())
    assert check(model, tiny_family("resnet"), Guidance(guided=Energy(GradCAM()))) is False


@pytest.mark.parametrize(
    ("classes", "loss", "told"), [(2, Energy, True), (2, PPCE, True), (3, Energy, False), (2, RightReasons, False)]
)
def test_dead_maps_of_one_logit_of_two_are_told_of(classes, loss, told, monkeypatch):
    """Of two logits the one of the label may be negative everywhere; RightReasons moves such a map, too."""
    said = []
    monkeypatch.setattr(term_checks.logger, "warning_once", said.append)
    torch.manual_seed(0)
    shape = {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "num_labels": classes}
    model = ResNetForImageClassification(ResNetConfig(**shape)).double().eval()
    with torch.no_grad():
        weight = model.classifier[1].weight
        weight.copy_(-weight.abs())
        weight[0] -= 0.5
    family, batch = family_of(model), make_batch(2) | {"target": torch.ones(2, dtype=torch.long)}
    label, contrast = InputXGradient("final"), InputXGradient("final", target=ContrastLogits())
    for method in (label, contrast):
        check(model, family, Guidance(guided=loss(method)), batch)
    hints = [text for text in said if "ContrastLogits" in text]
    assert len(hints) == told
    assert all("term 'guided'" in text and "InputXGradient('final', target=" in text for text in hints)
    maps = [explain(model, family, batch, method).attribution(method).flatten(1) for method in (label, contrast)]
    assert bool((maps[0] <= 0).all())
    assert bool((maps[1] > 0).any(1).all())


def positive_outside_only():
    """A net whose map is its input, on images that are negative in the box and positive elsewhere."""
    model, batch = smooth_net(), make_batch(size=(6, 8), channels=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    inside = batch["importance"][:, None] > 0
    batch["pixel_values"] = torch.where(inside, -1.0, 1.0).expand_as(batch["pixel_values"]).to(batch["pixel_values"])
    return model, batch


@pytest.mark.parametrize("loss", [Energy, PPCE, L1])
def test_a_loss_that_is_flat_on_these_maps_is_judged_later(loss):
    """All that is positive lies outside the boxes: Energy is 1 and its gradient 0, by its formula."""
    model, batch = positive_outside_only()
    guidance = Guidance(guided=loss(InputXGradient("input")))
    assert check(model, SMOOTH_FAMILY, guidance, batch) is (loss is L1)
    with pytest.raises(ValueError, match="moves no parameter"):
        check(model.requires_grad_(False), SMOOTH_FAMILY, guidance, batch)


def test_integrated_gradients_and_several_terms_pass():
    guidance = Guidance(a=L1(IntegratedGradients(steps=2)), b=Energy(InputXGradient("mid1")))
    assert check(tiny_model("vit"), tiny_family("vit"), guidance)


def test_a_head_that_begins_at_zero_is_waited_for():
    model = fresh_model("resnet")
    with torch.no_grad():
        model.classifier[1].weight.zero_()
    guidance, family = Guidance(guided=Energy(InputXGradient("mid1"))), tiny_family("resnet")
    assert check(model, family, guidance) is False
    forward = explain(model, family, make_batch(), guidance["guided"].objective, guidance["task"].objective)
    with pytest.raises(ValueError, match="gradient at layer 'mid1' is zero"):
        check_terms(guidance, forward, model.parameters(), patient=False)
