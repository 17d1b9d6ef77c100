"""The layout of an activation is found by changing parts of the input; what is not known is refused with the reason."""

import odd_nets
import pytest
import torch
from odd_nets import GRID, SIZE, Cutting, OddNet
from tiny import timm_model

from hf_guidance.families import Layout, family_of
from hf_guidance.families.structure.places import places_of
from hf_guidance.families.structure.probe import Calling


def odd_net(how, **options):
    torch.manual_seed(0)
    return OddNet(how, **options).eval()


@pytest.mark.parametrize(
    ("how", "layout"),
    [
        (lambda maps: maps, Layout(1, patch=(4, 4))),
        (odd_nets.channels_last, Layout(-1, patch=(4, 4))),
        (odd_nets.rows_of_tokens, Layout(-1, patch=(4, 4))),
        (odd_nets.token_before, Layout(-1, 1, patch=(4, 4))),
    ],
)
def test_layouts_are_found(how, layout):
    model = odd_net(how)
    family = family_of(model)
    assert family.layout("odd", model) == layout
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        maps = torch.tanh(model.patches(images))
        assert torch.equal(family.of_layer("odd", model).spatial(how(maps), SIZE), maps)


@pytest.mark.parametrize(
    "how",
    [
        odd_nets.columns_of_tokens, odd_nets.windows_of_tokens, odd_nets.reversed_tokens, odd_nets.snake_of_tokens,
        odd_nets.token_behind, lambda maps: maps.flip(2), lambda maps: maps.flip(3),
        lambda maps: maps.mean((2, 3), keepdim=True).expand_as(maps),
    ],
)  # fmt: skip
def test_places_in_another_order_are_refused_with_the_reason_and_the_way_out(how):
    model = odd_net(how)
    with pytest.raises(ValueError, match=r"layer 'odd' of OddNet cannot be read: .*family=Family\(layers="):
        family_of(model).layout("odd", model)


def test_branches_are_refused():
    model = odd_net(odd_nets.two_branches)
    with pytest.raises(ValueError, match=r"puts out 2 tensors with places \(branches\)"):
        family_of(model).layout("odd", model)


def test_a_module_that_runs_twice_is_refused():
    model = odd_net(lambda maps: maps, runs=2)
    with pytest.raises(ValueError, match="runs 2 times in a forward pass"):
        family_of(model).layout("odd", model)


def test_vectors_have_no_places_but_a_layout():
    model = odd_net(lambda maps: maps)
    assert family_of(model).layout("head", model) == Layout()


def test_a_layout_is_found_once_and_the_model_stays_as_it_was():
    model = odd_net(odd_nets.channels_last).train()
    model.patches.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    calls = []
    handle = model.register_forward_pre_hook(lambda module, args: calls.append(module.training))
    family = family_of(model)
    assert not calls
    first = family.layout("odd", model)
    made = len(calls)
    assert made
    assert not any(calls)
    assert family_of(model).layout("odd", model) == first
    assert len(calls) == made
    handle.remove()
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_layout_does_not_depend_on_the_weights():
    model = odd_net(odd_nets.token_before)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert family_of(model).layout("odd", model).prefix_tokens == 1
    assert GRID[0] * GRID[1] + 1 == odd_nets.token_before(torch.zeros(1, 10, *GRID)).shape[1]


def test_a_model_that_cannot_be_called_on_images_alone_says_so():
    class Needy(OddNet):
        def forward(self, pixel_values, input_ids):
            return super().forward(pixel_values)

    model = Needy(lambda maps: maps)
    with pytest.raises(ValueError, match=r"Needy cannot be called on images .* alone: TypeError"):
        family_of(model).layout("odd", model)
    with pytest.raises(ValueError, match=r"the layers of Needy are not known.*'input' works"):
        dict(family_of(model).layers)


@pytest.mark.parametrize("behind", [None, odd_nets.Lay(odd_nets.channels_last)])
@pytest.mark.parametrize(
    "crop",
    [
        lambda images: images[:, :, 16:-16, 16:-16], lambda images: images[:, :, 8:-8, 8:-8], lambda images: images[:, :, 8:],
        lambda images: images[..., :-16], lambda images: images[:, :, :-16, :-16],
    ],
)  # fmt: skip
def test_a_net_that_crops_its_image_is_refused(crop, behind):
    """Its places lie in an inner part of the image, but a map is laid over all of it."""
    torch.manual_seed(0)
    model = Cutting(before=crop, size=64).eval()
    with pytest.raises(ValueError, match=r"corner of the image changes nothing.*crop|fill a grid|has no places"):
        family_of(model).layout("mix", model)


@pytest.mark.parametrize("crop", [8, 16])
def test_tokens_of_a_cropped_image_are_refused(crop):
    torch.manual_seed(0)
    model = OddNet(odd_nets.token_before).eval()
    model.config.image_size = (24 + 2 * crop, 24 + 2 * crop)
    whole = model.forward
    model.forward = lambda pixel_values: whole(pixel_values[:, :, crop:-crop, crop:-crop])
    with pytest.raises(ValueError, match="upper left corner of the image changes nothing"):
        family_of(model).layout("odd", model)


@pytest.mark.parametrize("size", [64, 67, 71, (70, 100)])
def test_a_rest_that_no_patch_sees_is_no_crop(size):
    torch.manual_seed(0)
    model = Cutting(size=size).eval()
    assert family_of(model).layout("mix", model) == Layout(patch=(8, 8))


def test_a_rest_behind_pools_is_no_crop():
    torch.manual_seed(0)
    model = Cutting(patch=4, behind=torch.nn.MaxPool2d(4), size=76).eval()  # 19 places, of which 16 are pooled
    assert family_of(model).layout("behind", model) == Layout()


@pytest.mark.parametrize(
    ("name", "arguments", "layer", "path"),
    [("efficientnet_b0", {}, "final", "bn2"), ("pit_ti_224", {"img_size": 96}, "mid1", "transformers.0.blocks.0")],
)
def test_corners_that_fade_on_a_long_way_are_no_crop(name, arguments, layer, path):
    model = timm_model(name, **arguments)
    assert family_of(model).layers[layer] == f"timm_model.{path}"


def test_arguments_of_a_call_are_told_by_what_they_are():
    """Not by how they are printed: that would cost a step, and tensors are printed in part."""
    model = odd_net(odd_nets.channels_last)
    known = [Calling({"w": torch.zeros(2000)}), Calling({"w": torch.zeros(2000)})]
    assert places_of(model)._of(known[0]) is places_of(model)._of(known[0])
    assert places_of(model)._of(known[0]) is not places_of(model)._of(known[1])
