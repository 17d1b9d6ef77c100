"""Blur and OtherImages, the fills of pixels, against sums written out place by place."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from tiny import SMOOTH_FAMILY, make_batch, smooth_net

from hf_guidance import Guidance
from hf_guidance.forward import Forward
from hf_guidance.guidance.importance_columns import importance_columns
from hf_guidance.objectives import Sufficiency
from hf_guidance.views import FULL, Blur, Important, OtherImages, View


def images(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reflected(index, size):
    """The place that a mirror shows, whose surface runs through the middle of the edge pixels."""
    while not 0 <= index < size:
        index = -index if index < 0 else 2 * (size - 1) - index
    return index


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
def test_blur_is_the_weighted_sum_over_mirrored_neighbours(sigma):
    given = images(2, 2, 5, 7)
    radius = max(1, math.ceil(4 * sigma - 0.5))
    offsets = range(-radius, radius + 1)
    weight = [math.exp(-(o**2) / (2 * sigma**2)) for o in offsets]
    expected = torch.zeros_like(given)
    for y in range(5):
        for x in range(7):
            for dy, down in zip(offsets, weight, strict=True):
                for dx, across in zip(offsets, weight, strict=True):
                    near = given[:, :, reflected(y + dy, 5), reflected(x + dx, 7)]
                    expected[:, :, y, x] += near * down * across / sum(weight) ** 2
    assert torch.allclose(Blur(sigma)(given, None), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.7, 3.0, 10.0, 40.0])
def test_blur_is_that_of_scipy_also_where_the_kernel_is_wider_than_the_image(sigma):
    given = images(1, 1, 20, 33)
    expected = gaussian_filter(given[0, 0].numpy(), sigma, mode="mirror", truncate=4.0)
    assert np.allclose(Blur(sigma)(given, None)[0, 0].numpy(), expected, rtol=1e-12, atol=1e-12)


def test_blur_keeps_flat_images_single_pixels_and_what_channels_add_up_to():
    flat = torch.full((1, 3, 6, 4), 0.7, dtype=torch.float64)
    assert torch.allclose(Blur(5.0)(flat, None), flat, rtol=1e-14)
    line = images(2, 3, 1, 1)
    assert torch.allclose(Blur(5.0)(line, None), line, rtol=1e-14)
    colours = images(2, 3, 8, 8).sigmoid()
    six = Blur(2.0)(torch.cat([colours, 1 - colours], 1), None)  # as B-cos nets read them
    assert torch.allclose(six[:, :3] + six[:, 3:], torch.ones_like(colours), rtol=1e-12)
    assert torch.equal(Blur(1e-300)(colours, None), colours)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blur_is_as_precise_as_its_input_under_autocast(dtype):
    given = images(2, 3, 16, 16, dtype=dtype)
    plain = Blur(2.0)(given, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Blur(2.0)(given, None), plain)
    assert plain.dtype == dtype


def test_a_blurred_view_differentiates_to_the_pixels():
    given = images(1, 2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: Blur(1.0)(x, None), given)


@pytest.mark.parametrize("sigma", [0, -1.0, float("nan"), float("inf"), 1001, True, "10", None])
def test_blur_refuses_a_sigma_that_is_none(sigma):
    with pytest.raises(ValueError, match=r"Blur\(sigma=.*give pixels above 0 and at most 1,000"):
        Blur(sigma)


@pytest.mark.parametrize("fill", [Blur(), OtherImages()])
def test_boxes_are_no_pixels(fill):
    with pytest.raises(ValueError, match=r"was given features \(2, 4, 5\); it replaces pixels.*take marginal"):
        fill(images(2, 4, 5), None)


def donors(fill, given):
    """Which image each image was filled from."""
    return [
        next(j for j in range(len(given)) if torch.allclose(fill[i], given[j], rtol=1e-12)) for i in range(len(given))
    ]


@pytest.mark.parametrize("count", [2, 3, 8])
def test_no_image_fills_itself(count):
    given, met = images(count, 3, 4, 5), set()
    for seed in range(20):
        torch.manual_seed(seed)
        found = donors(OtherImages()(given, None), given)
        assert sorted(found) == list(range(count))
        assert all(donor != image for image, donor in enumerate(found))
        met.add(tuple(found))
    assert len(met) > (count > 2)


def test_the_object_of_the_other_image_stays_behind():
    """At its important places stands the average of its other ones; an image without importance gives all its pixels."""
    given = images(3, 2, 4, 5)
    importance = torch.zeros(3, 4, 5)
    importance[0, 1:3, 1:4], importance[1, 0] = 0.9, 0.6
    expected = given.clone()
    for image in (0, 1):
        important = importance[image] > 0.5
        for channel in range(2):
            expected[image, channel][important] = given[image, channel][~important].mean()
    found = OtherImages()(given, importance)
    order = donors(found, expected)
    assert sorted(order) == [0, 1, 2]
    assert order != [0, 1, 2]
    assert torch.allclose(found, expected[order], rtol=1e-14)
    assert sorted(donors(OtherImages(threshold=1.0)(given, importance), given)) == [0, 1, 2]
    soft = OtherImages(threshold=0.8)(given, importance)  # 0.6 is then unimportant
    assert any(torch.equal(soft[image], given[1]) for image in range(3))


def test_an_image_alone_is_filled_with_the_colour_of_its_own_background():
    given, importance = images(1, 2, 4, 5), torch.zeros(1, 4, 5)
    importance[0, :2] = 1
    average = given[:, :, 2:].mean((2, 3), keepdim=True).expand_as(given)
    assert torch.allclose(OtherImages()(given, importance), average, rtol=1e-14)
    whole = given.mean((2, 3), keepdim=True).expand_as(given)
    for nothing_known in (None, torch.ones_like(importance)):
        assert torch.allclose(OtherImages()(given, nothing_known), whole, rtol=1e-14)


def test_it_draws_by_the_seed():
    given = images(6, 1, 2, 2)
    torch.manual_seed(5)
    first = OtherImages()(given, None)
    torch.manual_seed(5)
    assert torch.equal(OtherImages()(given, None), first)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, "half", None])
def test_a_threshold_lies_in_the_range_of_importance(threshold):
    with pytest.raises(ValueError, match=r"OtherImages\(threshold=.*give a number in \[0, 1\]"):
        OtherImages(threshold)


@pytest.mark.parametrize("fill", [Blur(3.0), OtherImages(), OtherImages(0.25, "outline")])
def test_a_view_puts_the_fill_where_it_keeps_nothing(fill):
    torch.manual_seed(0)
    model, batch = smooth_net(), make_batch(size=(6, 8), channels=2)
    batch["outline"] = batch["importance"]
    view = View(Important(), fill)
    forward = Forward(model, SMOOTH_FAMILY, batch, frozenset({(FULL, "logits"), (view, "logits")}))
    kept = (batch["importance"] > 0.5)[:, None]
    edited = torch.where(kept, batch["pixel_values"], forward.fill(view))
    assert not torch.equal(edited, batch["pixel_values"])
    assert torch.allclose(forward.logits(view)[0], model(pixel_values=edited)["logits"], rtol=1e-12)


def test_documents_hold_them():
    guidance = Guidance(first=Sufficiency(replace=Blur(2.5)), second=Sufficiency(replace=OtherImages(0.3, "outline")))
    again = Guidance.from_dict(guidance.to_dict())
    assert dict(again) == dict(guidance)
    assert guidance.to_dict()["first"]["objective"]["replace"] == {"type": "Blur", "sigma": 2.5}
    assert importance_columns(guidance) == {"importance", "outline"}
    plain = guidance.to_dict()
    plain["first"]["objective"]["replace"]["sigma"] = 1e9
    with pytest.raises(ValueError, match=r"Blur cannot be built.*at most 1,000"):
        Guidance.from_dict(plain)
