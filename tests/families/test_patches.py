"""The patch of a place comes from the strides of the net, whatever size the configuration names; none where places stretch."""

import odd_nets
import pytest
import torch
import torch.nn.functional as F
from odd_nets import Cutting
from torch import nn
from transformers import (
    Dinov2Config,
    Dinov2ForImageClassification,
    FocalNetConfig,
    FocalNetForImageClassification,
    SiglipConfig,
    SiglipForImageClassification,
    Swinv2Config,
    Swinv2ForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from hf_guidance.families import Layout, family_of
from hf_guidance.families.grid import fits
from hf_guidance.families.structure.patches import patch_of, patches_of
from hf_guidance.families.structure.weights import random_weights
from hf_guidance.forward import Forward, Needs
from hf_guidance.views import FULL

TOKENS = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48, "num_labels": 3}
STAGES = {"embed_dim": 8, "depths": [1, 1, 1, 1], "patch_size": 4, "num_labels": 3}


def siglip(size, patch):
    text = {"hidden_size": 24, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = SiglipConfig(vision_config=TOKENS | {"image_size": size, "patch_size": patch}, text_config=text)
    config.num_labels = 3
    return SiglipForImageClassification(config)


def dinov2(size, patch):
    return Dinov2ForImageClassification(Dinov2Config(**TOKENS, image_size=size, patch_size=patch))


def swinv2(size, window=3):
    return Swinv2ForImageClassification(
        Swinv2Config(**STAGES, image_size=size, num_heads=[1, 1, 1, 1], window_size=window)
    )


def focalnet(size):
    return FocalNetForImageClassification(FocalNetConfig(**STAGES, image_size=size))


def activation_of_bands(model, layer, size, band):
    """Answers of the places' rows to a change of each band of the image, as shares; and what of the image they cover."""
    model = model.double().eval()
    model.load_state_dict(random_weights(model), strict=False)
    images = torch.randn(1, 3, *size, dtype=torch.float64).repeat(1 + size[0] // band, 1, 1, 1)
    for number, image in enumerate(images[1:]):
        image[:, number * band : (number + 1) * band] = 2 * torch.randn(3, band, size[1], dtype=torch.float64)
    batch = {"pixel_values": images, "target": torch.zeros(len(images), dtype=torch.long)}
    with torch.no_grad():
        forward = Forward(model, family_of(model), batch, Needs([(FULL, layer)]))
        maps = forward.activation(layer)
    change = (maps[1:] - maps[:1]).norm(dim=1).mean(2)
    return change / change.mean(0, keepdim=True), forward.seen(tuple(maps.shape[2:]))


@pytest.mark.parametrize(
    ("make", "size", "patch", "places"),
    [
        (lambda: siglip(62, 8), 62, 8, 7),
        (lambda: siglip(60, 16), 60, 16, 3),
        (lambda: dinov2(62, 8), 62, 8, 7),
        (lambda: swinv2(64, 4), 72, 32, 3),
    ],
)
def test_places_answer_to_the_bands_of_their_patches(make, size, patch, places):
    torch.manual_seed(0)
    band = 4
    answers, seen = activation_of_bands(make(), "final", (size, size), band)
    assert answers.shape[1] == places
    assert seen == (places * patch / size, places * patch / size)
    inside = min(size, places * patch) // band
    assert answers[:inside].argmax(1).tolist() == [number * band // patch for number in range(inside)]


@pytest.mark.parametrize(
    ("make", "patches"),
    [
        (lambda: swinv2(72), {"mid1": 4, "mid2": 8, "mid3": 16, "final": 32}),
        (lambda: focalnet(62), {"mid1": 4, "mid2": 8, "mid3": 16, "final": 32}),
        (lambda: focalnet(64), {"mid1": 4, "mid2": 8, "mid3": 16, "final": 32}),
    ],
)
def test_stages_have_the_stride_of_the_net(make, patches):
    model = make().eval()
    family = family_of(model)
    assert {layer: family.layout(path, model).patch for layer, path in family.layers.items()} == {
        layer: (side, side) for layer, side in patches.items()
    }


def test_a_siglip_of_384_pixels_sees_27_patches_of_14():
    model = siglip(384, 14).eval()
    batch = {"pixel_values": torch.randn(1, 3, 384, 384), "target": torch.tensor([0])}
    forward = Forward(model, family_of(model), batch, Needs([(FULL, "final")]))
    assert forward.activation("final").shape[2:] == (27, 27)
    assert forward.seen((27, 27)) == (378 / 384, 378 / 384)


def test_images_of_other_sizes_are_read_by_the_patch():
    model = swinv2(72).eval()
    for size, places in ((72, 3), (96, 3), (128, 4)):
        batch = {"pixel_values": torch.randn(1, 3, size, size), "target": torch.tensor([0])}
        forward = Forward(model, family_of(model), batch, Needs([(FULL, "final")]))
        assert forward.activation("final").shape[2:] == (places, places)
        assert forward.seen((places, places)) == (places * 32 / size, places * 32 / size)


@pytest.mark.parametrize(
    ("options", "patch"),
    [
        ({}, (8, 8)),
        ({"behind": nn.AdaptiveAvgPool2d((4, 4))}, None),
        ({"behind": nn.AdaptiveMaxPool2d(4)}, None),
        ({"behind": nn.AdaptiveAvgPool2d((None, 4))}, None),
        ({"before": lambda images: F.interpolate(images, (64, 64))}, (8, 8)),
    ],
)
@pytest.mark.parametrize("size", [(64, 64), (128, 128), (96, 160)])
def test_places_stretch_where_a_net_resizes(options, patch, size):
    """At another size than the configuration's, a map of a fixed number of places covers the whole image."""
    model = Cutting(**options).eval()
    family = family_of(model)
    assert family.layout(family.layers["final"], model).patch == patch
    batch = {"pixel_values": torch.randn(1, 3, *size), "target": torch.tensor([0])}
    forward = Forward(model, family, batch, Needs([(FULL, "final")]))
    assert forward.seen(tuple(forward.activation("final").shape[2:])) == (1.0, 1.0)


@pytest.mark.parametrize(
    "how", [lambda maps: maps, odd_nets.channels_last, odd_nets.rows_of_tokens, odd_nets.token_before]
)
def test_oblong_patches_are_found(how):
    torch.manual_seed(0)
    model = odd_nets.OddNet(how).eval()
    model.patches = nn.Conv2d(3, 10, (4, 2), (4, 2))
    found = family_of(model).layout("odd", model)
    assert found.patch == (4, 2)
    images = torch.randn(2, 3, *odd_nets.SIZE)
    with torch.no_grad():
        maps = torch.tanh(model.patches(images))
        assert torch.equal(family_of(model).of_layer("odd", model).spatial(how(maps), odd_nets.SIZE), maps)


def test_a_path_of_a_vit_with_oblong_patches_is_read():
    model = ViTForImageClassification(ViTConfig(**TOKENS, image_size=(64, 32), patch_size=(8, 4))).eval()
    path = "vit.layers.1.layernorm_after"
    assert family_of(model).layout(path, model) == Layout(-1, 1, (8, 4))


@pytest.mark.parametrize(
    ("convolutions", "grid", "size", "patch"),
    [
        ([(3, 4)], (16, 16), (64, 64), (4, 4)),
        ([(3, 4)], (2, 2), (64, 64), (32, 32)),  # merged
        ([(3, 4), (8, 2), (8, 3)], (2, 3), (48, 72), (24, 24)),  # by 2 and 3
        ([(3, 12), (3, 16)], (15, 15), (240, 240), (16, 16)),  # branches
        ([(3, 4)], (2, 2), (40, 40), None),  # 16, or 32 with padding
        ([(3, 7)], (6, 6), (64, 64), None),
        ([(3, 4)], (1, 1), (64, 64), None),
        ([(3, (8, 4))], (8, 8), (64, 32), (8, 4)),
    ],
)
def test_the_patch_that_cuts_an_image_into_a_grid(convolutions, grid, size, patch):
    net = nn.Sequential(*(nn.Conv2d(channels, 8, side, side) for channels, side in convolutions))
    assert patch_of(patches_of(net), grid, size) == patch


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(3, 8, 3, 2),
        nn.Conv2d(3, 8, 4, 4, padding=1),
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d((4, 1)),
    ],
)
def test_nets_of_another_kind_have_no_patch(module):
    assert patches_of(nn.Sequential(nn.Conv2d(3, 8, 4, 4), module)) == ()
    assert patches_of(nn.Sequential(nn.Conv2d(3, 8, 3))) == ()


@pytest.mark.parametrize("patch", [4, (4,), (0, 4), (4.0, 4), (True, 4), ((4, 4), (4, 4))])
def test_impossible_patches_are_refused(patch):
    with pytest.raises(ValueError, match=r"patch=.*give the \(height, width\)"):
        Layout(patch=patch)


def test_sides_of_a_patch_from_json_are_a_tuple():
    assert Layout(patch=[16, 8]).patch == (16, 8)


def test_places_merged_three_by_three_have_a_patch():
    patches = patches_of(nn.Sequential(nn.Conv2d(3, 8, 4, 4)))
    assert patch_of(patches, (8, 8), (96, 96)) == (12, 12)
    assert patch_of(patches, (10, 10), (96, 96)) is None


def test_one_side_may_be_cut_where_the_other_is_padded():
    assert fits((7, 8), (225, 230), (32, 32))
    assert not fits((6, 6), (224, 224), (32, 32))
