"""explain: its maps are those of the attributions, whatever the batches, and equal captum's."""

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient as CaptumInputXGradient
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import LayerGradCam
from nets import Linear, photo
from tiny import (
    BUILDERS,
    SIZE,
    SMOOTH_FAMILY,
    make_batch,
    relative_error,
    smooth_net,
    tiny_family,
    tiny_model,
)
from tiny import (
    explain as forward_of,
)
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from hf_guidance import explain
from hf_guidance.attributions import BcosContribution, GradCAM, Gradient, InputXGradient, IntegratedGradients
from hf_guidance.evaluation.figures import Panel, panel_figure, save_figure
from hf_guidance.families import Family
from hf_guidance.forward.maps import onto_image

EXACT = 1e-10
DEFAULTS = {"bcos_resnet": BcosContribution(), "xdnn_resnet": IntegratedGradients()}
PIXELS = make_batch(5)["pixel_values"]
TARGETS = [0, 2, 1, 0, 2]


def spread(maps):
    return torch.as_tensor(np.stack([one.raw for one in maps]))


def attributed(model, family, method, pixels=PIXELS, targets=TARGETS):
    """The same maps by a Forward, and their images' pixels."""
    with torch.no_grad():
        forward = forward_of(model, family, {"pixel_values": pixels, "target": torch.tensor(targets)}, method)
        maps = forward.attribution(method)
    return maps, onto_image(maps, SIZE, forward.seen(tuple(maps.shape[1:])))


@pytest.mark.parametrize("name", BUILDERS)
def test_the_default_of_every_model(name):
    found = explain(tiny_model(name), PIXELS, target=TARGETS)
    method = DEFAULTS.get(name, GradCAM())
    assert {repr(one.attribution) for one in found} == {repr(method)}
    raw, on_image = attributed(tiny_model(name), tiny_family(name), method)
    assert relative_error(spread(found), raw) < EXACT
    assert found.maps.dtype == np.float64
    assert relative_error(torch.tensor(found.maps), on_image) < EXACT


@pytest.mark.parametrize(
    "method", [InputXGradient(), InputXGradient("mid2"), IntegratedGradients(steps=3), Gradient("mid1")]
)
@pytest.mark.parametrize("name", ["resnet", "vit", "timm_swin", "bcos_resnet"])
def test_other_methods(name, method):
    found = explain(tiny_model(name), PIXELS, attribution=method, target=TARGETS)
    assert relative_error(spread(found), attributed(tiny_model(name), tiny_family(name), method)[0]) < EXACT


def test_a_map_computed_by_hand():
    weight = torch.tensor([[[[1.0, -2.0], [0.0, 3.0]]], [[[0.0, 0.0], [1.0, 0.0]]]], dtype=torch.float64)
    pixels = torch.tensor([[[[5.0, 1.0], [7.0, -1.0]]]], dtype=torch.float64)
    model = Linear(weight, ["up", "down"])
    up, down = explain(model, pixels, attribution=InputXGradient(), target=[["up", "down"]])
    assert up.map.tolist() == [[5.0, -2.0], [0.0, -3.0]]
    assert down.map.tolist() == [[0.0, 0.0], [7.0, 0.0]]
    assert (up.logit, down.logit) == (0.0, 7.0)
    assert down.score == pytest.approx(1 / (1 + np.exp(-7.0)))
    assert explain(model, pixels)[0].label == "down"


def test_integrated_gradients_are_complete():
    net = smooth_net()
    pixels = torch.randn(3, 2, 6, 6, dtype=torch.float64)
    method = IntegratedGradients(steps=200)
    found = explain(net, pixels, attribution=method, target=[0, 1, 2], family=SMOOTH_FAMILY)
    at_zero = net(torch.zeros_like(pixels))["logits"]
    for one, zero in zip(found, at_zero, strict=True):
        assert one.raw.sum() == pytest.approx(one.logit - zero[one.target].item(), abs=1e-5)


def test_equal_to_captum():
    net, target = smooth_net(), [0, 2, 1]
    pixels = torch.randn(3, 2, 6, 6, dtype=torch.float64)

    def logits(values):
        return net(values)["logits"]

    def ours(method):
        return torch.tensor(explain(net, pixels, attribution=method, target=target, family=SMOOTH_FAMILY).maps)

    theirs = CaptumInputXGradient(logits).attribute(pixels.clone().requires_grad_(), target=target).sum(1)
    assert relative_error(ours(InputXGradient()), theirs.detach()) < EXACT
    theirs = (
        CaptumIntegratedGradients(logits).attribute(pixels, target=target, n_steps=8, method="riemann_middle").sum(1)
    )
    assert relative_error(ours(IntegratedGradients(steps=8)), theirs.detach()) < EXACT
    cam = LayerGradCam(logits, net.conv2).attribute(pixels, target=target, relu_attributions=True)
    theirs = nn.functional.interpolate(cam, (6, 6), mode="bilinear")[:, 0]
    assert relative_error(ours(GradCAM()), theirs.detach()) < EXACT


@pytest.mark.parametrize("method", [None, "InputXGradient", IntegratedGradients(steps=5)])
def test_batches_change_nothing(method):
    targets = [0, [1, 2], None, [2], 1]
    whole = explain(tiny_model("resnet"), PIXELS, attribution=method, target=targets, batch_size=5, max_rows=100)
    for sizes in ({}, {"batch_size": 1, "max_rows": 1}, {"batch_size": 2, "max_rows": 3}, {"batch_size": 3}):
        found = explain(tiny_model("resnet"), PIXELS, attribution=method, target=targets, **sizes)
        assert [(one.index, one.target) for one in found] == [(one.index, one.target) for one in whole]
        assert relative_error(torch.tensor(found.maps), torch.tensor(whole.maps)) < EXACT
        assert relative_error(torch.tensor(found.logits), torch.tensor(whole.logits)) < EXACT


def test_pictures_of_several_sizes_in_batches():
    model = tiny_model("resnet")
    processor = ViTImageProcessor(size={"height": 32, "width": 64})
    pictures = [photo(20 + 3 * i, 30, seed=i) for i in range(4)]
    found = explain(model, pictures, processor, batch_size=3)
    for picture, one in zip(pictures, found, strict=True):
        pixels = processor(picture, return_tensors="pt")["pixel_values"]
        alone = explain(model, pixels, target=one.target)
        assert relative_error(torch.tensor(one.raw), torch.tensor(alone[0].raw)) < 1e-6
        assert one.map.shape == (picture.height, picture.width)


def test_pixels_of_several_sizes_run_apart():
    sizes = [(8, 8), (8, 8), (6, 10), (8, 8)]
    pixels = [torch.randn(2, *size, dtype=torch.float64) for size in sizes]
    found = explain(smooth_net(), pixels, attribution=InputXGradient(), family=SMOOTH_FAMILY)
    assert [one.map.shape for one in found] == sizes
    alone = explain(smooth_net(), pixels[2], attribution=InputXGradient(), family=SMOOTH_FAMILY)
    assert np.abs(found[2].map - alone[0].map).max() < 1e-14


def test_a_net_without_places_is_explained_at_its_input(caplog):
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.Tanh(), nn.Linear(5, 2))

        def forward(self, pixel_values):
            return {"logits": self.net(pixel_values)}

    (one,) = explain(Flat(), torch.randn(1, 3, 4, 4))
    assert one.attribution == InputXGradient()
    assert "no layer for GradCAM was found" in caplog.text


def test_arguments_of_the_model_are_used():
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    model = ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, **sizes)).eval()
    pixels = torch.randn(1, 3, 40, 67)  # not the size of the ViT
    found = explain(model, pixels, model_arguments={"interpolate_pos_encoding": True})
    assert found[0].raw.shape == (5, 8)
    assert found.maps.shape == (1, 40, 67)
    assert found[0].seen == (0, 40, 0, 64)  # the last three columns fill no patch
    assert not found.maps[..., 64:].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attribution": "GradCam"}, r"attribution='GradCam' is unknown; choose one of .*'GradCAM'"),
        ({"attribution": GradCAM}, r"attribution=<class .*give an attribution, as GradCAM\(\)"),
        ({"attribution": 3}, "attribution=3; give an attribution"),
        ({"attribution": "LabelLogit"}, "attribution='LabelLogit' is unknown"),
        ({"attribution": Gradient(channels="keep")}, "not one number per place"),
        ({"attribution": GradCAM("nowhere")}, "layer='nowhere' is neither"),
        (
            {"family": Family(layers={}, features="visual_feats")},
            "reads 'visual_feats' and no images.*use explain_answer",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        explain(tiny_model("resnet"), PIXELS, **options)


def test_no_model_is_refused():
    with pytest.raises(ValueError, match="model is a str; give a model"):
        explain("org/repo", PIXELS)


def test_a_result_is_a_sequence():
    found = explain(tiny_model("resnet"), PIXELS, target=[[0, 1], 1, 2, 0, 1])
    assert len(found) == 6
    assert (len(found[1:3]), type(found[1:3])) == (2, type(found))
    assert [len(one) for one in found.by_image()] == [2, 1, 1, 1, 1]
    assert (found.logits.shape, found.scores.shape) == ((6, 3), (6,))
    assert repr(found).startswith("Explanations(6: image 0: LABEL_0 0.")
    told = found.to_dict()["explanations"][1]
    assert (told["label"], told["size"], told["seen"]) == ("LABEL_1", list(SIZE), [0, 32, 0, 64])
    assert "GradCAM" in told["attribution"]


@pytest.mark.parametrize("title", ["$^$", "a$b$c", "\\frac{"])
def test_titles_are_text_and_no_formula(title, tmp_path):
    save_figure(panel_figure([[Panel(np.zeros((4, 4, 3)), title=title)]], title=title), tmp_path / "odd.png")
    assert (tmp_path / "odd.png").stat().st_size > 0
