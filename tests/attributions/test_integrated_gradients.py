import pytest
import torch
from tiny import (
    BUILDERS,
    SMOOTH_FAMILY,
    explain,
    fresh_model,
    make_batch,
    relative_error,
    smooth_net,
    tiny_family,
    tiny_model,
)
from torch import nn

from hf_guidance.attributions import InputXGradient, IntegratedGradients, LabelLogit
from hf_guidance.views import negative_ones


def explained_score(model, pixels, target):
    return model(pixel_values=pixels)["logits"].gather(1, target[:, None])[:, 0]


@pytest.mark.parametrize("baseline", [None, negative_ones], ids=["zeros", "negative_ones"])
def test_completeness(baseline):
    """The map sums to score(x) - score(b), up to the midpoint rule's error, which falls with the square of the step."""
    model, batch = smooth_net(), make_batch(size=(6, 8), channels=2)
    options = {} if baseline is None else {"baseline": baseline}
    empty = torch.full_like(batch["pixel_values"], 0.0 if baseline is None else -1.0)
    difference = explained_score(model, batch["pixel_values"], batch["target"]) - explained_score(
        model, empty, batch["target"]
    )
    errors = []
    for steps in (4, 16, 64):
        method = IntegratedGradients(steps=steps, **options)
        total = explain(model, SMOOTH_FAMILY, batch, method).attribution(method).sum((1, 2))
        errors.append(relative_error(total.detach(), difference.detach()))
    assert errors[2] < 1e-4
    assert errors[1] < errors[0] / 8
    assert errors[2] < errors[1] / 8


@pytest.mark.parametrize("layer", ["mid1", "final"])
def test_completeness_at_a_layer(layer):
    model, batch = smooth_net(), make_batch(size=(6, 8), channels=2)
    method = IntegratedGradients(layer=layer, steps=200)
    forward = explain(model, SMOOTH_FAMILY, batch, method)

    def score(scale):
        handle = model.get_submodule(SMOOTH_FAMILY.layers[layer]).register_forward_hook(lambda m, a, out: out * scale)
        value = explained_score(model, batch["pixel_values"], batch["target"])
        handle.remove()
        return value.detach()

    assert relative_error(forward.attribution(method).sum((1, 2)).detach(), score(1.0) - score(0.0)) < 1e-4


class BiasFree(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.conv1 = nn.Conv2d(2, 6, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(6, 4, 3, stride=2, padding=1, bias=False)
        self.fc = nn.Linear(4, 3, bias=False)

    def forward(self, pixel_values):
        hidden = nn.functional.max_pool2d(self.conv1(pixel_values).relu(), 2)
        return {"logits": self.fc(self.conv2(hidden).relu().amax((-2, -1)))}


@pytest.mark.parametrize("layer", ["input", "mid1", "final"])
@pytest.mark.parametrize("steps", [1, 3])
def test_equals_input_x_gradient_on_a_bias_free_network(layer, steps):
    model, batch = BiasFree().double(), make_batch(size=(8, 6), channels=2)
    path, single = IntegratedGradients(layer, steps=steps), InputXGradient(layer)
    forward = explain(model, SMOOTH_FAMILY, batch, path, single)
    assert relative_error(forward.attribution(path), forward.attribution(single).detach()) < 1e-12


@pytest.mark.parametrize("max_rows", [1, 3, 4, 7])
@pytest.mark.parametrize("layer", ["input", "mid2"])
@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_max_rows_changes_nothing(name, layer, max_rows):
    model, family, batch = tiny_model(name), tiny_family(name), make_batch()
    method = IntegratedGradients(layer, steps=5)
    whole = explain(model, family, batch, method).attribution(method)
    cut = explain(model, family, batch, method, max_rows=max_rows).attribution(method)
    assert relative_error(cut, whole.detach()) < 1e-12


@pytest.mark.parametrize("name", BUILDERS)
def test_equals_a_loop_over_steps_and_images(name):
    model, batch = tiny_model(name), make_batch()
    method = IntegratedGradients(steps=3)
    ours = explain(model, tiny_family(name), batch, method).attribution(method)
    for index, (pixels, target) in enumerate(zip(batch["pixel_values"], batch["target"], strict=True)):
        slope = torch.zeros_like(pixels)
        for step in range(3):
            point = (pixels * (step + 0.5) / 3).requires_grad_()
            slope += torch.autograd.grad(model(pixel_values=point[None])["logits"][0, target], point)[0] / 3
        assert relative_error(ours[index], (pixels * slope).sum(0)) < 1e-10


def test_a_baseline_that_broadcasts_over_images_is_explained_for_rows():
    """A Replace function may return anything that broadcasts against the features."""

    def mean_colour(features, importance):
        return features.mean((0, 2, 3), keepdim=True)

    model, batch = smooth_net(), make_batch(images=2, size=(6, 8), channels=2)
    method = IntegratedGradients(steps=2, baseline=mean_colour)
    plain = explain(model, SMOOTH_FAMILY, batch, method).attribution(method)
    rows = batch | {"row": [1, 0, 1], "slot": [0, 0, 1], "target": batch["target"][[1, 0, 1]]}
    again = explain(model, SMOOTH_FAMILY, rows, method).attribution(method)
    assert relative_error(again, plain[[1, 0, 1]].detach()) < 1e-12


@pytest.mark.parametrize("name", ["vit", "timm_swin"])
def test_baselines_see_canonical_features_at_token_layers(name):
    """(images, channels, *space), whatever the layout of the layer, as views.py promises Replace functions."""
    seen = []

    def note(features, importance):
        seen.append(tuple(features.shape))
        return features.new_zeros(())

    method = IntegratedGradients("mid1", steps=1, baseline=note)
    forward = explain(tiny_model(name), tiny_family(name), make_batch(), method)
    assert seen == [tuple(forward.activation("mid1").shape)]


def test_running_statistics_see_the_images_once():
    """The points of the path are no images: BatchNorm's running statistics must end as after a plain step."""
    guided, plain, batch = fresh_model("resnet").train(), fresh_model("resnet").train(), make_batch()
    plain(pixel_values=batch["pixel_values"])
    explain(guided, tiny_family("resnet"), batch, IntegratedGradients(steps=3))
    for (name, ours), theirs in zip(guided.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(ours, theirs), name


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match=r"steps=0.*at least 1"):
        IntegratedGradients(steps=0)


def test_target_is_the_label_by_default():
    assert IntegratedGradients().target == LabelLogit()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 1.5}, r"steps=1.5\): give a whole number of at least 1"),
        ({"steps": "8"}, r"steps='8'\): give a whole number"),
        ({"baseline": None}, r"baseline=None\): give a Replace function, as views.zeros"),
        ({"baseline": 0.0}, r"baseline=0.0\): give a Replace function"),
        ({"layer": ""}, r"layer=''\): give a name, for example 'final'"),
    ],
)
def test_fields_that_make_no_path_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        IntegratedGradients(**fields)
