"""A map covers the part of the image that its patches cover, when sizes are not multiples of the patch."""

import dataclasses

import pytest
import torch
from tiny import explain, tiny_family, tiny_model
from transformers import SwinConfig, SwinForImageClassification, ViTConfig, ViTForImageClassification

from hf_guidance.attributions import InputXGradient
from hf_guidance.evaluation import Grounding
from hf_guidance.families import family_of
from hf_guidance.forward.maps import onto_image, onto_places
from hf_guidance.objectives import Energy
from hf_guidance.training.attention import use_differentiable_attention

SIZE = (35, 38)  # 4 x 4 patches of 8 pixels and a rest


@pytest.fixture(scope="module")
def vit():
    config = ViTConfig(
        hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=32, patch_size=8,
        num_labels=3,
    )  # fmt: skip
    model = ViTForImageClassification(config).double().eval()
    use_differentiable_attention(model)
    return model


def interpolated(vit):
    return dataclasses.replace(family_of(vit), arguments={"interpolate_pos_encoding": True})


def batch_of(size, images=2):
    importance = torch.zeros(images, *size, dtype=torch.float64)
    importance[:, : size[0] // 2] = 1
    pixels = torch.randn(images, 3, *size, dtype=torch.float64)
    return {"pixel_values": pixels, "target": torch.tensor([0, 1]), "importance": importance}


def test_the_rest_of_a_vits_image_is_seen_by_no_patch(vit):
    method = InputXGradient("final")
    batch = batch_of(SIZE)
    forward = explain(vit, interpolated(vit), batch, method)
    maps = forward.attribution(method)
    assert maps.shape == (2, 4, 4)
    assert forward.seen((4, 4)) == (32 / 35, 32 / 38)
    on_image = onto_image(maps, SIZE, forward.seen((4, 4)))
    assert torch.equal(on_image[:, :32, :32], onto_image(maps, (32, 32)))
    assert not bool(on_image[:, 32:].any())
    assert not bool(on_image[:, :, 32:].any())
    at_input = explain(vit, interpolated(vit), batch, InputXGradient()).attribution(InputXGradient())
    assert not bool(at_input[:, 32:].any())
    assert not bool(at_input[:, :, 32:].any())


def test_losses_and_metrics_compare_the_seen_part(vit):
    """The same map and boxes on the part of 32 x 32 pixels alone give the same energy."""
    loss = Energy(InputXGradient("final"))
    batch = batch_of(SIZE)
    forward = explain(vit, interpolated(vit), batch, loss)
    cut = {
        "pixel_values": batch["pixel_values"][..., :32, :32],
        "target": batch["target"],
        "importance": batch["importance"][:, :32, :32],
    }
    whole = explain(vit, family_of(vit), cut, loss)
    assert torch.allclose(loss(forward), loss(whole), rtol=1e-12)
    assert forward.importance("importance", (4, 4)).equal(whole.importance("importance", (4, 4)))
    grounding = Grounding(loss.attribution)
    found = []
    for each, given in ((forward, batch), (whole, cut)):
        grounding.add(each, given, 2)
        found.append(grounding.compute()["epg"])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_a_padded_map_reaches_beyond_the_image():
    config = SwinConfig(
        image_size=64, patch_size=4, embed_dim=4, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2
    )
    model = SwinForImageClassification(config).double().eval()
    batch = batch_of((65, 64))
    method = InputXGradient("final")
    forward = explain(model, family_of(model), batch, method)
    maps = forward.attribution(method)
    assert maps.shape == (2, 3, 2)
    assert forward.seen((3, 2)) == (96 / 65, 1.0)
    assert torch.equal(onto_image(maps, (65, 64), forward.seen((3, 2))), onto_image(maps, (96, 64))[:, :65])
    # The last row of places is 1/32 inside of the image.
    ones = onto_places(torch.ones(1, 65, 64, dtype=torch.float64), (3, 2), (96 / 65, 1.0))
    assert torch.allclose(ones, torch.tensor([[[1.0, 1.0], [1.0, 1.0], [1 / 32, 1 / 32]]], dtype=torch.float64))


def test_nets_of_overlapping_convolutions_cover_the_image():
    method = InputXGradient("final")
    forward = explain(tiny_model("resnet"), tiny_family("resnet"), batch_of((70, 70)), method)
    assert forward.seen(tuple(forward.attribution(method).shape[1:])) == (1.0, 1.0)


def test_pixels_of_another_rank_are_refused():
    batch = {"pixel_values": torch.zeros(2, 4, 3, 32, 64, dtype=torch.float64), "target": torch.tensor([0, 1])}
    with pytest.raises(ValueError, match=r"'pixel_values' has shape \(2, 4, 3, 32, 64\); images are .*tiling"):
        explain(tiny_model("resnet"), tiny_family("resnet"), batch, InputXGradient())
