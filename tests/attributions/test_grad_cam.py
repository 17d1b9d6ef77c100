import dataclasses

import pytest
import torch
from tiny import (
    BUILDERS,
    CLASSES,
    explain,
    make_batch,
    parameter_gradients,
    relative_error,
    tiny_family,
    tiny_model,
)
from torch import nn

from hf_guidance.attributions import GradCAM, Gradient, InputXGradient, LogProbabilities
from hf_guidance.families import Family

POOLED = [name for name in BUILDERS if name in ("resnet", "swin", "timm_resnet", "timm_swin", "xdnn_resnet")]


def test_families_with_a_closed_form():
    assert [name for name in BUILDERS if tiny_family(name).pooled_linear is not None] == POOLED


@pytest.mark.parametrize(
    "method",
    [
        GradCAM(), GradCAM(relu=False), InputXGradient("final"), Gradient("final"),
        GradCAM(relu=False, fixed_weights=True), GradCAM(target=LogProbabilities(), relu=False),
        Gradient("final", target=LogProbabilities(epsilon=1e-3)),
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("name", POOLED)
def test_closed_form_equals_autograd(name, method):
    """Values, and the parameter gradients of a function of the map."""
    model, family, batch = tiny_model(name), tiny_family(name), make_batch()
    by_autograd = dataclasses.replace(family, pooled_linear=None)
    closed = explain(model, family, batch, method).attribution(method)
    by_graph = explain(model, by_autograd, batch, method).attribution(method)
    assert relative_error(closed, by_graph.detach()) < 1e-10
    weights = torch.randn(closed.shape, dtype=closed.dtype, generator=torch.Generator().manual_seed(2))
    ours = parameter_gradients((closed * weights).sum(), model)
    theirs = parameter_gradients((by_graph * weights).sum(), model)
    scale = max(gradient.abs().max() for gradient in theirs)
    assert scale > 0
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).abs().max() < 1e-10 * scale


@pytest.mark.parametrize("name", POOLED)
def test_closed_form_equals_autograd_for_several_classes_an_image(name):
    model, family = tiny_model(name), tiny_family(name)
    row, slot = [2, 0, 0, 1, 2], [0, 0, 1, 0, 1]
    batch = make_batch() | {"row": row, "slot": slot, "target": torch.tensor([0, 1, 2, 2, 1])}
    method = GradCAM(relu=False)
    closed = explain(model, family, batch, method).attribution(method)
    by_autograd = dataclasses.replace(family, pooled_linear=None)
    assert relative_error(closed, explain(model, by_autograd, batch, method).attribution(method).detach()) < 1e-10


@pytest.mark.parametrize("name", ["resnet", "timm_resnet"])
def test_cam_sums_to_the_logit_without_bias(name):
    model, family, batch = tiny_model(name), tiny_family(name), make_batch()
    forward = explain(model, family, batch, InputXGradient("final"))
    bias = model.get_submodule(family.pooled_linear).bias
    expected = forward.logits().gather(1, batch["target"][:, None])[:, 0] - bias[batch["target"]]
    assert torch.allclose(forward.attribution(InputXGradient("final")).sum((1, 2)), expected)


def test_closed_form_runs_no_backward(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("autograd.grad was called")

    monkeypatch.setattr(torch.autograd, "grad", refuse)
    forward = explain(tiny_model("resnet"), tiny_family("resnet"), make_batch(), GradCAM())
    assert forward.attribution(GradCAM()).shape == (3, 1, 2)


def test_layers_without_places_are_refused():
    class Vectors(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.fc = nn.Linear(12, 5), nn.Linear(5, CLASSES)

        def forward(self, pixel_values):
            return {"logits": self.fc(self.embed(pixel_values.flatten(1)).tanh())}

    family = Family(layers={"final": "embed"})
    forward = explain(Vectors().double(), family, make_batch(size=(2, 2)), GradCAM(), InputXGradient("final"))
    assert forward.attribution(InputXGradient("final")).shape == (3, 5)
    with pytest.raises(ValueError, match=r"GradCAM\(layer='final'\).*vectors \(3, 5\) without places"):
        forward.attribution(GradCAM())


@pytest.mark.parametrize("name", ["resnet", "convnext", "vit"])
def test_fixed_weights_give_the_same_map_and_the_slope_of_the_activation_alone(name):
    model, family, batch = tiny_model(name), tiny_family(name), make_batch()
    free, fixed = GradCAM(relu=False), GradCAM(relu=False, fixed_weights=True)
    forward = explain(model, family, batch, free)
    maps = forward.attribution(fixed)
    assert torch.equal(maps, forward.attribution(free))
    activation = forward.activation("final")
    weights = forward.gradient("final", free.target).flatten(2).mean(2).detach()
    expected = (weights[:, :, None, None] * activation).sum()
    ours, theirs = (parameter_gradients(value, model) for value in (maps.sum(), expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)
    second = parameter_gradients(forward.attribution(free).sum(), model)
    assert any(not torch.allclose(one, other) for one, other in zip(ours, second, strict=True))
