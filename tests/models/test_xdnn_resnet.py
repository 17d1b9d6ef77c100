import dataclasses
import math

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from tiny import explain, make_batch, parameter_gradients, relative_error
from torch.nn import functional as F
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from hf_guidance import GuidanceCollator
from hf_guidance.attributions import InputXGradient, IntegratedGradients
from hf_guidance.families import family_of
from hf_guidance.models import XDNNImageProcessor, XDNNResNetConfig, XDNNResNetForImageClassification
from hf_guidance.models.shared.resnet_sizes import RESNET_DEPTHS

KINDS = {
    "basic": {"hidden_sizes": [6, 8, 8], "depths": [1, 2, 1], "layer_type": "basic"},
    "bottleneck": {"hidden_sizes": [8, 12, 16], "depths": [2, 1, 1], "layer_type": "bottleneck"},
}
LAYERS = ("input", "mid1", "mid2", "final")


def build(kind="basic", **fields):
    """In float64, nothing at its first value of zero."""
    torch.manual_seed(0)
    model = XDNNResNetForImageClassification(XDNNResNetConfig(embedding_size=6, num_labels=3, **KINDS[kind] | fields))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.double().eval()


def pixels(rows=2, size=(40, 56)):
    return torch.randn(rows, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_the_formulas(model, x):
    """From the parameters by name; a stride takes every second place of the convolution without it."""
    weights, config = dict(model.named_parameters()), model.config

    def convolve(x, name, stride=1):
        weight = weights[name]
        padded = F.pad(x, [weight.shape[-1] // 2] * 4)
        return F.conv2d(padded, weight)[..., ::stride, ::stride]

    x = convolve(x, "stem.convolution.weight", 2).clamp_min(0)
    if config.downsample_in_stem:
        x = F.pad(x, [1] * 4).unfold(2, 3, 2).unfold(3, 3, 2).amax((-2, -1))  # padded by 0: nothing is below it here
    bottleneck = config.layer_type == "bottleneck"
    for stage, depth in enumerate(config.depths):
        for block in range(depth):
            path = f"stages.{stage}.{block}"
            stride = 2 if stage and not block else 1
            inside = convolve(x, f"{path}.convolutions.0.weight", 1 if bottleneck else stride).clamp_min(0)
            inside = convolve(inside, f"{path}.convolutions.1.weight", stride if bottleneck else 1)
            if bottleneck:
                inside = convolve(inside.clamp_min(0), f"{path}.convolutions.2.weight")
            shortcut = f"{path}.shortcut.weight"
            x = (inside + (convolve(x, shortcut, stride) if shortcut in weights else x)).clamp_min(0)
    return torch.einsum("nchw,kc->nk", x, weights["classifier.weight"]) / x[0, 0].numel()


@pytest.mark.parametrize("fields", [{}, {"downsample_in_stem": False}, {"head_bias": False}], ids=["", "wide", "bare"])
@pytest.mark.parametrize("kind", KINDS)
def test_against_the_formulas(kind, fields):
    model = build(kind, **fields)
    bias = model.classifier.bias if model.config.head_bias else 0
    assert (model.classifier.bias is None) == ("head_bias" in fields)
    expected = by_the_formulas(model, pixels()) + bias
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(model(pixels()).logits, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_without_bias_scale_with_the_image(kind):
    model = build(kind)
    bias = model.classifier.bias
    once, scaled = (model(factor * pixels()).logits - bias for factor in (1, 7.5))
    torch.testing.assert_close(scaled, 7.5 * once, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(model(-pixels()).logits - bias, -once)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", KINDS)
def test_integrated_gradients_are_one_gradient(kind, layer):
    """The short way and the path walked, in values and in gradients of the parameters."""
    model, batch = build(kind), make_batch()
    exact, walked, single = (
        IntegratedGradients(layer, exact=True),
        IntegratedGradients(layer, steps=9),
        InputXGradient(layer),
    )
    family = family_of(model)
    short = explain(model, family, batch, exact, single)
    long = explain(model, dataclasses.replace(family, biases=None), batch, walked)
    maps = [short.attribution(exact), short.attribution(single), long.attribution(walked)]
    weights = torch.randn(maps[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    slopes = [parameter_gradients((m * weights).sum(), model) for m in maps]
    for other, slope in zip(maps[1:], slopes[1:], strict=True):
        assert relative_error(other, maps[0].detach()) < 1e-10
        for name, ours, theirs in zip(dict(model.named_parameters()), slopes[0], slope, strict=True):
            assert relative_error(ours, theirs) < 1e-8, name


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", KINDS)
def test_contributions_add_up_to_the_logit_without_bias(kind, layer):
    model, method = build(kind).float(), IntegratedGradients(layer, exact=True)
    batch = make_batch()
    batch["pixel_values"] = batch["pixel_values"].float()
    forward = explain(model, family_of(model), batch, method)
    expected = forward.scores(method.target) - model.classifier.bias[batch["target"]]
    found = forward.attribution(method).sum((1, 2))
    assert relative_error(found, expected.detach()) < 1e-5


@pytest.mark.parametrize("depth", RESNET_DEPTHS)
def test_depths_have_the_convolutions_of_torchvision(depth):
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"resnet{depth}")()
        ours = XDNNResNetForImageClassification(XDNNResNetConfig.of_depth(depth, num_labels=1000))
    convolutions = [m.weight for m in theirs.modules() if isinstance(m, torch.nn.Conv2d)]
    found = [p for p in ours.parameters() if p.dim() == 4]
    assert sorted(p.shape for p in found) == sorted(p.shape for p in convolutions)
    assert len(list(ours.parameters())) == len(found) + 2
    assert ours.classifier.weight.shape == theirs.fc.weight.shape


@pytest.mark.parametrize(("kind", "scale"), [("basic", 5**-0.5), ("bottleneck", 5**-0.25)])
def test_begins_as_fixup_has_it(kind, scale):
    """Five blocks; standard deviations of He by outputs, inside the branches scaled by ``L^(-1 / (2m - 2))``."""
    torch.manual_seed(0)
    fields = {"hidden_sizes": [64, 256, 128], "depths": [2, 2, 1], "layer_type": kind}
    model = XDNNResNetForImageClassification(XDNNResNetConfig(embedding_size=64, **fields)).double()
    for block in (block for stage in model.stages for block in stage):
        *first, last = block.convolutions
        assert not last.weight.any()
        for convolution in first:
            fan = len(convolution.weight) * convolution.weight[0, 0].numel()
            assert convolution.weight.std().item() == pytest.approx(scale * math.sqrt(2 / fan), rel=0.06)
        if hasattr(block.shortcut, "weight"):
            std = math.sqrt(2 / len(block.shortcut.weight))
            assert block.shortcut.weight.std().item() == pytest.approx(std, rel=0.06)
    assert model.stem.convolution.weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 49)), rel=0.06)
    assert not model(pixels()).logits.any()


def test_losses():
    model = build()
    classes = torch.tensor([2, 0])
    output = model(pixels(), labels=classes)
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, classes))
    assert model(pixels()).loss is None
    several = build(problem_type="multi_label_classification")
    hot = torch.tensor([[1.0, 0, 1], [0, 0, 0]], dtype=torch.float64)
    loss, logits = several(pixels(), labels=hot, return_dict=False)
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits, hot))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_images_take_the_dtype_of_the_weights(dtype):
    model = build().to(dtype)
    images = pixels().float()
    assert torch.equal(model(images).logits, model(images.to(dtype)).logits)
    assert model(images).logits.dtype == dtype


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_read_by_the_auto_classes(kind, tmp_path):
    model = build(kind, head_bias=kind == "basic", downsample_in_stem=kind == "basic").float()
    model.save_pretrained(tmp_path)
    XDNNImageProcessor(size={"height": 40, "width": 56}).save_pretrained(tmp_path)
    again = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert type(again) is XDNNResNetForImageClassification
    assert torch.equal(again(pixels().float()).logits, model(pixels().float()).logits)
    assert AutoConfig.from_pretrained(tmp_path).to_dict() == again.config.to_dict()
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(processor) is XDNNImageProcessor
    assert (processor.size["height"], processor.size["width"]) == (40, 56)


def test_another_head_begins_at_zero_and_the_rest_is_kept(tmp_path):
    model = build().float()
    model.save_pretrained(tmp_path)
    again = XDNNResNetForImageClassification.from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    assert again.classifier.weight.shape == (5, 8)
    assert not again.classifier.weight.any()
    assert torch.equal(again.stages[1][1].convolutions[1].weight, model.stages[1][1].convolutions[1].weight)
    assert torch.equal(again.stem.convolution.weight, model.stem.convolution.weight)


def test_the_processor_subtracts_the_mean_colour_of_imagenet():
    processor = XDNNImageProcessor(size={"height": 6, "width": 4})
    mean = np.uint8([[round(255 * v) for v in (0.485, 0.456, 0.406)]])
    image = Image.fromarray(np.broadcast_to(mean[:, None], (12, 8, 3)).copy())
    baseline = processor(images=[image], return_tensors="pt")["pixel_values"]
    assert baseline.shape == (1, 3, 6, 4)
    assert baseline.abs().max() < 0.01
    white = processor(images=[Image.new("RGB", (8, 12), "white")], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(
        white[0, :, 0, 0], (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    )


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_pictures_of_other_modes_become_rgb(mode):
    processor = XDNNImageProcessor(size={"height": 6, "width": 4})
    made = processor(images=[Image.new("RGB", (8, 12), "white").convert(mode)], return_tensors="pt")["pixel_values"]
    assert torch.equal(
        made, processor(images=[Image.new("RGB", (8, 12), "white")], return_tensors="pt")["pixel_values"]
    )


def test_the_processor_carries_boxes_in_the_collator():
    collator = GuidanceCollator(XDNNImageProcessor(size={"height": 8, "width": 8}), num_labels=3, source="boxes")
    row = {
        "image": Image.new("RGB", (16, 16)),
        "label": 1,
        "objects": [{"bbox": [0, 0, 8, 16], "category": 1}],
        "image_id": "a",
    }
    batch = collator([row])
    assert batch["pixel_values"].shape == (1, 3, 8, 8)
    expected = torch.zeros(8, 8)
    expected[:, :4] = 1
    torch.testing.assert_close(batch["importance"][0], expected)


@pytest.mark.parametrize(
    ("given", "shape"),
    [(None, "None"), (torch.zeros(2, 6, 8, 8), r"\(2, 6, 8, 8\)"), (torch.zeros(3, 8, 8), r"\(3, 8, 8\)")],
    ids=["none", "six", "image"],
)
def test_other_images_are_refused(given, shape):
    with pytest.raises(
        ValueError, match=rf"pixel_values has shape {shape}; \(batch, 3, height, width\).*XDNNImageProcessor"
    ):
        build()(given)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"embedding_size": 0}, r"embedding_size=0\) must be at least 1"),
        ({"num_channels": 0}, r"num_channels=0\) must be at least 1"),
        ({"depths": (1, 2)}, r"depths=\[1, 2\]\): give one number of channels and one of blocks per stage"),
        ({"depths": (), "hidden_sizes": ()}, "give one number of channels"),
        ({"depths": (3, 4, 0, 3)}, "each at least 1"),
        ({"layer_type": "wide"}, r"layer_type='wide'\) is unknown; choose one of \['basic', 'bottleneck'\]"),
        ({"hidden_sizes": (8, 10, 16, 20)}, "multiples of 4, or layer_type='basic'"),
        ({"embedding_size": "8"}, r"embedding_size='8'\) must be at least 1 and a whole number"),
        ({"depths": [1, 1.0], "hidden_sizes": [4, 4]}, r"depths=\[1, 1.0\]\).*each at least 1 and whole"),
    ],
)
def test_sizes_that_make_no_model_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        XDNNResNetConfig(**fields)


def test_an_unknown_depth_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"of_depth\(20\) is unknown; choose one of \[18, 34, 50, 101\]"):
        XDNNResNetConfig.of_depth(20)
    assert XDNNResNetConfig.of_depth(18, hidden_sizes=[4, 4, 4, 4]).hidden_sizes == [4, 4, 4, 4]
