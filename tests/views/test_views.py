import pytest
import torch
from tiny import SMOOTH_FAMILY, make_batch, smooth_net, tiny_family, tiny_model

from hf_guidance.forward import Forward
from hf_guidance.views import (
    FULL,
    IMPORTANT,
    UNIMPORTANT,
    Important,
    Keep,
    Path,
    View,
    gaussian,
    marginal,
    negative_ones,
    shuffle,
    shuffle_places,
    zeros,
)


def test_views_compare_by_value():
    assert View(Important()) == IMPORTANT != UNIMPORTANT
    assert View() == FULL == View(None, negative_ones, 0, "input")
    assert View(draw=1) != FULL
    assert len({View(Path(3), zeros), View(Path(3), zeros), View(Path(4), zeros)}) == 2


@pytest.mark.parametrize(("view", "kept"), [(IMPORTANT, lambda m: m > 0.5), (UNIMPORTANT, lambda m: ~(m > 0.5))])
@pytest.mark.parametrize("name", ["smooth", "resnet", "vit", "timm_swin"])
def test_hard_views_of_the_input(name, view, kept):
    if name == "smooth":
        model, family, batch = smooth_net(), SMOOTH_FAMILY, make_batch(size=(6, 8), channels=2)
    else:
        model, family, batch = tiny_model(name), tiny_family(name), make_batch()
    forward = Forward(model, family, batch, frozenset({(FULL, "logits"), (view, "logits")}))
    edited = torch.where(kept(batch["importance"])[:, None], batch["pixel_values"], -1.0)
    logits = forward.logits(view)
    assert logits.shape == (1, 3, 3)
    assert torch.allclose(logits[0], model(pixel_values=edited)["logits"])


def test_soft_copies_are_points_on_the_path():
    model, batch = smooth_net(), make_batch(size=(6, 8), channels=2)
    view = View(Path(3), zeros)
    forward = Forward(model, SMOOTH_FAMILY, batch, frozenset({(FULL, "logits"), (view, "logits")}))
    for step in range(3):
        expected = model(pixel_values=batch["pixel_values"] * (step + 0.5) / 3)["logits"]
        assert torch.allclose(forward.logits(view)[step], expected, rtol=1e-12, atol=1e-12)


def test_views_edit_layers():
    model, batch = smooth_net(), make_batch(size=(6, 8), channels=2)
    view = View(Important(), zeros, layer="mid1")
    forward = Forward(model, SMOOTH_FAMILY, batch, frozenset({(FULL, "mid1"), (view, "logits")}))
    keep = (batch["importance"] > 0.5)[:, None]
    handle = model.conv1.register_forward_hook(lambda m, a, output: output * keep)
    expected = model(pixel_values=batch["pixel_values"])["logits"]
    handle.remove()
    assert torch.allclose(forward.logits(view)[0], expected)


def features(seed=0):
    return torch.randn(3, 4, 5, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_constant_fills():
    assert zeros(features(), None) == 0
    assert negative_ones(features(), None) == -1


def test_gaussian_has_the_batch_mean_and_deviation():
    wide = torch.randn(8, 3, 40, 40, dtype=torch.float64) * 3 + 2
    fill = gaussian(wide, None)
    assert fill.shape == wide.shape
    assert fill.mean().item() == pytest.approx(2, abs=0.1)
    assert fill.std().item() == pytest.approx(3, abs=0.1)


def test_marginal_permutes_all_places_of_the_batch():
    given = features()
    fill = marginal(given, None)
    assert fill.shape == given.shape
    places = {tuple(row) for row in given.movedim(1, -1).reshape(-1, 4).tolist()}
    assert {tuple(row) for row in fill.movedim(1, -1).reshape(-1, 4).tolist()} == places
    assert not torch.equal(fill, given)


def test_shuffle_permutes_places_and_channels_of_each_image():
    given = features()
    fill = shuffle(given, None)
    for image in range(3):
        places = [sorted(place) for place in given[image].flatten(1).T.tolist()]
        assert sorted(sorted(place) for place in fill[image].flatten(1).T.tolist()) == sorted(places)
    assert not torch.equal(fill, given)


def test_the_base_names_what_is_missing():
    with pytest.raises(NotImplementedError, match="Keep must define"):
        Keep()(None, (1,))


def test_importance_of_rows_goes_to_their_images():
    """Image 0 has no row, image 1 one, image 2 two: nothing, one and both are important."""
    model, batch = smooth_net(), make_batch(size=(6, 8), channels=2)
    rows = batch | {"row": [2, 1, 2], "slot": [0, 0, 1], "target": torch.tensor([2, 1, 0])}
    forward = Forward(model, SMOOTH_FAMILY, rows, frozenset({(FULL, "logits"), (IMPORTANT, "logits")}))
    mask = batch["importance"] > 0.5
    kept = torch.stack([torch.zeros_like(mask[0]), mask[1], mask[0] | mask[2]])
    edited = torch.where(kept[:, None], batch["pixel_values"], -1.0)
    assert torch.allclose(forward.logits(IMPORTANT)[0], model(pixel_values=edited)["logits"])


def test_path_points_are_made_on_the_host():
    assert Path(4)(None, (2, 3)).device.type == "cpu"


def test_shuffle_places_permutes_whole_pixels_outside_the_mask():
    """The values outside stay a set of pixels, each with its channels; the inside and other images have no part in it."""
    torch.manual_seed(1)
    batch = make_batch(size=(6, 8), channels=2)
    view = View(Important(), shuffle_places)
    forward = Forward(smooth_net(), SMOOTH_FAMILY, batch, frozenset({(FULL, "logits"), (view, "logits")}))
    inside = batch["importance"] > 0.5
    edited = torch.where(inside[:, None], batch["pixel_values"], forward.fill(view))
    for image in range(3):
        before, after = (pixels[image][:, ~inside[image]].T for pixels in (batch["pixel_values"], edited))
        assert not torch.equal(before, after)
        assert sorted(map(tuple, before.tolist())) == sorted(map(tuple, after.tolist()))
    assert torch.equal(forward.fill(view).where(inside[:, None], 0), batch["pixel_values"].where(inside[:, None], 0))
    logits = smooth_net()(pixel_values=edited)["logits"]
    assert torch.allclose(forward.logits(view)[0], logits)


def test_shuffle_places_leaves_padding_and_draws_by_the_seed():
    given = torch.arange(24.0).reshape(2, 2, 6)
    real = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    torch.manual_seed(3)
    fill = shuffle_places(given, None, real=real)
    torch.manual_seed(3)
    assert torch.equal(shuffle_places(given, None, real=real), fill)
    assert torch.equal(fill[1, :, 3:], given[1, :, 3:])
    assert torch.equal(fill[1, :, :3].sort(1).values, given[1, :, :3])
    assert torch.equal(fill[:, 1] - fill[:, 0], given[:, 1] - given[:, 0])  # the channels of a place stay together


@pytest.mark.parametrize("name", ["resnet", "vit", "timm_swin"])
@pytest.mark.parametrize("layer", ["mid1", "final"])
@pytest.mark.parametrize("grad", [True, False])
def test_activations_of_a_view_are_those_of_the_edited_image(name, layer, grad):
    model, family, batch = tiny_model(name), tiny_family(name), make_batch()
    batch |= {"row": [2, 0, 2], "slot": [0, 0, 1]}
    needs = frozenset({(FULL, layer), (IMPORTANT, layer)})
    with torch.set_grad_enabled(grad):
        forward = Forward(model, family, batch, needs)
        found = forward.activation(layer, IMPORTANT)
        keep = forward.keep(IMPORTANT)[0][:, None]
        edited = torch.where(keep, batch["pixel_values"], -1.0)
        plain = Forward(model, family, {"pixel_values": edited}, frozenset({(FULL, layer)})).activation(layer)
    assert torch.allclose(found[0], plain[[2, 0, 2]])
    assert found.requires_grad == grad
    with pytest.raises(ValueError, match="was not among the needs"):
        forward.activation("mid2", IMPORTANT)
