"""A net whose head is a Linear layer on a mean has "final" just before the mean, and the closed form of the gradient there."""

import dataclasses
import pickle

import pooled_nets
import pytest
import torch
import torch.nn.functional as F
from odd_nets import SIZE, Blocks
from pooled_nets import SIDE, TIMM, TRANSFORMERS, Between, Pooled, mean_of, pooled_net, spread_out
from tiny import explain, make_batch, parameter_gradients, relative_error, timm_model
from torch import nn

from hf_guidance.attributions import ContrastLogits, GradCAM, InputXGradient
from hf_guidance.families import Family, family_of
from hf_guidance.families.structure import places
from hf_guidance.families.structure.probe import Probe
from hf_guidance.objectives import Energy
from hf_guidance.training.baselines.classifier import Classifier
from hf_guidance.training.pruning import prune_channels


def images(count=3, size=(SIDE, SIDE)):
    return make_batch(count, size)


def every_class():
    """Two images, each explained for all classes; contrasts are above 0, and so are parts of their maps."""
    batch = images(6)
    rows = {"row": [0, 0, 0, 1, 1, 1], "slot": [0, 1, 2] * 2}
    return batch | rows | {"pixel_values": batch["pixel_values"][:2], "labels": batch["labels"][:2]}


def by_autograd(family):
    return dataclasses.replace(family, pooled_linear=None)


@pytest.mark.parametrize("name", [*TIMM, *TRANSFORMERS])
def test_final_and_head_are_found_and_equal_autograd(name, monkeypatch):
    """Maps, the loss of Energy and its gradients in all parameters, in float64."""
    model, final, linear = pooled_net(name)
    family, batch = family_of(model), every_class()
    assert (family.layers["final"], family.pooled_linear) == (final, linear)
    contrast = InputXGradient("final", target=ContrastLogits())
    methods = GradCAM("final"), InputXGradient("final"), Energy(contrast)
    ours, theirs = (explain(model, each, batch, *methods) for each in (family, by_autograd(family)))
    with monkeypatch.context() as patch:
        patch.setattr(torch.autograd, "grad", None)  # the closed form takes none
        maps = [ours.attribution(method) for method in methods[:2]]
    for found, method in zip(maps, methods, strict=False):
        assert relative_error(found, theirs.attribution(method)) < 1e-10
    losses = [methods[2](forward) for forward in (ours, theirs)]
    assert relative_error(*losses) < 1e-10
    gradients = [parameter_gradients(loss.sum(), model) for loss in losses]
    scale = max(gradient.abs().max() for gradient in gradients[1])
    assert scale > 0
    for one, other in zip(*gradients, strict=True):
        assert (one - other).abs().max() < 1e-10 * scale


@pytest.mark.parametrize("name", ["efficientnet", "densenet", "vit of a mean", "MobileNetV2"])
def test_the_closed_form_holds_in_training_mode(name):
    model = pooled_net(name)[0].train()
    method, family = InputXGradient("final"), family_of(model)
    assert family.pooled_linear is not None
    assert model.training
    found, expected = (
        explain(model, each, images(), method).attribution(method) for each in (family, by_autograd(family))
    )
    assert relative_error(found, expected) < 1e-10


@pytest.mark.parametrize("kind", pooled_nets.OTHERS)
def test_other_heads_have_none(kind):
    torch.manual_seed(0)
    model = pooled_nets.OTHERS[kind]()
    family = family_of(model)
    assert family.layers["final"]
    assert family.pooled_linear is None


def test_final_does_not_depend_on_dropout():
    model = timm_model("test_efficientnet", drop_rate=0.2)
    assert family_of(model).layers["final"] == "timm_model.bn2"


def clipped(maps):
    return mean_of(maps).clamp(-6, 6)


def normed(maps):
    return F.layer_norm(mean_of(maps), (8,))


def detached(maps):
    return 0.5 * mean_of(maps) + 0.5 * mean_of(maps).detach()


WRONG = {
    "a pool of one window": lambda maps: F.avg_pool2d(maps, (6, 8)).flatten(1),
    "an activation": lambda maps: mean_of(maps).relu(),
    "an activation that is linear here": clipped,
    "a norm without parameters": normed,
    "a root of squares": lambda maps: maps.square().mean((2, 3)).sqrt(),
    "a sum": lambda maps: maps.sum((2, 3)),
    "part of the gradient": detached,
    "functional dropout": lambda maps: F.dropout(mean_of(maps), 0.01),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_nearly_a_mean_has_none(kind):
    model = Pooled(Between(WRONG[kind])).eval()
    assert family_of(model).layers["final"] == "second"
    assert family_of(model).pooled_linear is None


@pytest.mark.parametrize("between", [nn.BatchNorm1d(8, affine=False), nn.Dropout(0.01)])
def test_what_acts_in_training_alone_rules_it_out_in_eval_mode(between):
    model = Pooled(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), between)).eval()
    assert family_of(model).pooled_linear is None


@pytest.mark.parametrize(
    "between",
    [
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.0)), nn.Sequential(Between(mean_of), nn.Identity()),
        Between(lambda maps: F.avg_pool2d(maps, maps.shape[2:]).flatten(1)),
        Between(lambda maps: torch.einsum("bchw->bc", maps) / maps[0, 0].numel()),
    ],
)  # fmt: skip
def test_a_mean_is_one_however_it_is_written(between):
    model = Pooled(between)
    assert family_of(model).pooled_linear == "head"


def test_a_net_of_one_size_has_one_too():
    def fixed(maps):
        if maps.shape[2:] != (6, 8):
            raise RuntimeError("6 x 8 places, please")
        return mean_of(maps)

    model = Pooled(Between(fixed))
    assert family_of(model).pooled_linear == "head"


def put(path, module):
    return lambda model: model.set_submodule(path, module)


CHANGES = {
    "an MLP": put("head", nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))),
    "a rate": lambda model: setattr(model.between[2], "p", 0.5),
    "a maximum": put("between.0", nn.AdaptiveMaxPool2d(1)),
    "two places": lambda model: (setattr(model.between[0], "output_size", 2), put("head", nn.Linear(32, 3))(model)),
    "weight norm": lambda model: nn.utils.parametrizations.weight_norm(model.head),
    "a hook on the head": lambda model: model.head.register_forward_pre_hook(lambda module, args: (args[0].relu(),)),
    "a hook between": lambda model: model.between.register_forward_hook(lambda module, args, output: 2 * output),
    "another forward": lambda model: setattr(model.between, "forward", clipped),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_head_that_is_changed_is_looked_at_again(change):
    """Also through a family from before the change."""
    model = Pooled(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.0)))
    family = family_of(model)
    assert family.pooled_linear == "head"
    CHANGES[change](model)
    assert family.pooled_linear is None
    assert family_of(model).pooled_linear is None


def test_a_new_linear_layer_is_the_head():
    model = Pooled(Between(mean_of))
    family = family_of(model)
    assert family.pooled_linear == "head"
    model.head = nn.Linear(8, 5)
    assert family.pooled_linear == "head"
    model.head = nn.Sequential(nn.Linear(8, 4))
    assert family.pooled_linear == "head.0"
    model.head[0].register_forward_hook(lambda module, args, output: None)
    assert family.pooled_linear is None


def test_a_head_that_changes_at_every_call_costs_no_step(monkeypatch):
    model, calls = Pooled(Between(mean_of)), []
    family, call = family_of(model), Probe.fed
    monkeypatch.setattr(Probe, "fed", lambda *args, **options: calls.append(1) or call(*args, **options))
    for count in range(30):
        model.between.count = count
        assert family.pooled_linear in ("head", None)
    assert len(calls) <= 2 * 8
    model.between.count = 29
    assert family.pooled_linear is None


def test_finding_costs_two_calls_once_and_leaves_the_model_as_it_was(monkeypatch):
    torch.manual_seed(0)
    model, calls = timm_model("test_efficientnet").train(), []
    model.timm_model.bn1.eval()
    family, call = family_of(model), Probe.fed
    assert family.layers["final"] == "timm_model.bn2"
    monkeypatch.setattr(Probe, "fed", lambda *args, **options: calls.append(1) or call(*args, **options))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes, drawn = [module.training for module in model.modules()], torch.get_rng_state()
    assert family.pooled_linear == family.pooled_linear == family_of(model).pooled_linear == "timm_model.classifier"
    assert len(calls) == 2
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(drawn, torch.get_rng_state())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert not any(module._forward_hooks for module in model.modules())


def test_nothing_is_looked_for_before_final_is_read(monkeypatch):
    monkeypatch.setattr(places, "discover", None)
    monkeypatch.setattr(places, "pooled_head", None)
    model = spread_out(Pooled(Between(mean_of)))
    family = family_of(model).with_arguments({})
    assert "Family(" in repr(family)
    for layer in ("input", "first", "second"):
        method = InputXGradient(layer)
        assert explain(model, family, images(size=SIZE), method).attribution(method).shape[0] == 3


def test_arguments_leave_it_to_be_found():
    class Asked(Pooled):
        def forward(self, pixel_values, clip=False):
            maps = self.second(torch.tanh(self.first(pixel_values)))
            return {"logits": self.head(clipped(maps) if clip else mean_of(maps))}

    model = Asked(nn.Identity())
    family = family_of(model)
    assert family.pooled_linear == "head"
    assert family.with_arguments({"clip": True}).pooled_linear is None
    assert dataclasses.replace(family, arguments={"clip": True}).pooled_linear is None
    assert family.with_arguments({"clip": False}).pooled_linear == "head"


def test_another_final_by_hand_has_no_closed_form_of_the_old_one():
    model = Pooled(Between(mean_of))
    family = family_of(model)
    assert dataclasses.replace(family, layers={"final": "first"}).pooled_linear is None
    assert dataclasses.replace(family, layers={"final": "second"}).pooled_linear == "head"
    assert Family(layers={"final": "x"}, pooled_linear="fc").pooled_linear == "fc"


def test_what_is_found_is_pickled():
    model = Pooled(Between(mean_of))
    family = family_of(model)
    again = pickle.loads(pickle.dumps(family))
    assert again.pooled_linear == "head"
    assert again == family
    assert dataclasses.replace(again, layers={"final": "first"}).pooled_linear is None


def test_a_net_without_final_has_none():
    class Flat(Pooled):
        def forward(self, pixel_values):
            return {"logits": self.head(pixel_values.mean((2, 3)) @ self.second.weight[0, :3, :, 0])}

    model = Flat(nn.Identity())
    family = family_of(model)
    assert family.pooled_linear is None
    with pytest.raises(ValueError, match="are not known"):
        family.path("final", model)


def test_gradients_may_be_off_and_autocast_on():
    model = Pooled(Between(mean_of))
    other = Blocks(model.config)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert family_of(model).pooled_linear == "head"
        assert family_of(other).pooled_linear is None


def test_pruning_sets_columns_of_a_head_that_is_found():
    """So that the weights alone, without the mask, give the same logits."""
    model, final, linear = pooled_net("efficientnet")
    pixels, keep = images()["pixel_values"], torch.ones(model.get_submodule(linear).in_features, dtype=torch.bool)
    keep[::3] = False
    other = pooled_net("efficientnet")[0]
    assert prune_channels(model, keep).layer == final
    assert not model.get_submodule(linear).weight[:, ~keep].any()
    other.get_submodule(linear).load_state_dict(model.get_submodule(linear).state_dict())
    assert torch.allclose(model(pixel_values=pixels).logits, other(pixel_values=pixels).logits, atol=1e-12)
    method = GradCAM("final", relu=False)
    assert family_of(model).pooled_linear == linear
    found, expected = (
        explain(model, each, images(), method).attribution(method)
        for each in (family_of(model), by_autograd(family_of(model)))
    )
    assert relative_error(found, expected) < 1e-10


def test_baselines_find_the_last_layer():
    model, _, linear = pooled_net("mobilenetv2")
    logits, features = Classifier.of(model).with_features(images())
    assert Classifier.of(model).head()[0] == linear
    assert torch.allclose(model.get_submodule(linear)(features), logits)
