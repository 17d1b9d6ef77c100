import dataclasses

import pytest
import torch
from tiny import (
    BUILDERS,
    LAYERS,
    SIZE,
    explain,
    fresh_model,
    make_batch,
    timm_model,
    tiny_family,
    tiny_model,
)
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, SwinConfig, SwinForImageClassification

from hf_guidance.attributions import InputXGradient
from hf_guidance.families import ARCHITECTURES, Family, family_of
from hf_guidance.families.stages import spread
from hf_guidance.forward.capture import captured


@pytest.mark.parametrize("name", BUILDERS)
def test_symbolic_layers_lie_in_the_order_of_the_forward_pass(name):
    model, family = tiny_model(name), tiny_family(name)
    assert tuple(family.layers) == LAYERS[1:]
    assert len(set(family.layers.values())) == 4
    ran = []
    handles = [
        model.get_submodule(path).register_forward_hook(lambda m, a, o, layer=layer: ran.append(layer))
        for layer, path in family.layers.items()
    ]
    model(pixel_values=torch.zeros(1, 3, *SIZE, dtype=torch.float64))
    for handle in handles:
        handle.remove()
    assert ran == list(LAYERS[1:])


@pytest.mark.parametrize("name", BUILDERS)
def test_activations_lie_where_their_pixels_are(name):
    """A change of the lower right pixels moves the lower right of the map most: rows, columns and prefix are right."""
    model, family = tiny_model(name), tiny_family(name)
    pixels = torch.zeros(1, 3, *SIZE, dtype=torch.float64)
    changed = pixels.clone()
    changed[..., 24:, 48:] = 0.5

    def at(layer, images):
        with captured(model, {family.layers[layer]: None}) as recorded, torch.no_grad():
            model(pixel_values=images)
        path = family.layers[layer]
        return family.of_layer(path, model).spatial(recorded[path], SIZE)

    difference = (at("mid1", changed) - at("mid1", pixels)).abs().sum(1)[0]
    height, width = difference.shape
    assert width == 2 * height
    y, x = divmod(int(difference.argmax()), width)
    assert y >= 0.7 * height - 1
    assert x >= 0.7 * width - 1


@pytest.mark.parametrize("name", ["resnet", "vit", "timm_swin"])
def test_wrapped_models_have_the_family_of_the_model_inside(name):
    assert family_of(nn.DataParallel(tiny_model(name))) == tiny_family(name)


def test_an_unknown_model_type_lists_the_known_ones():
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    with pytest.raises(ValueError, match=r"'bert'.*has no family.*'resnet'.*'vit'.*family=Family") as error:
        family_of(BertForSequenceClassification(config))
    assert all(repr(name) in str(error.value) for architecture in ARCHITECTURES for name in architecture.MODEL_TYPES)


def test_a_plain_module_has_no_family():
    with pytest.raises(ValueError, match="model type None"):
        family_of(nn.Linear(1, 1))


def test_an_unknown_layer_names_the_symbolic_layers_and_near_paths():
    model, family = tiny_model("resnet"), tiny_family("resnet")
    with pytest.raises(ValueError, match=r"layer='resnet\.encoder\.stage\.1'") as error:
        family.path("resnet.encoder.stage.1", model)
    for known in ("'input'", "'mid1'", "'mid3'", "'final'", "'resnet.encoder.stages.1'"):
        assert known in str(error.value)
    with pytest.raises(ValueError, match=r"named_modules"):
        family.path("§§§§", model)
    assert family.path("final", model) == "resnet.encoder.stages.3"
    assert family.path("resnet.embedder", model) == "resnet.embedder"


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, {"final": 0}),
        (2, {"mid1": 0, "final": 1}),
        (3, {"mid1": 0, "mid2": 1, "final": 2}),
        (4, {"mid1": 0, "mid2": 1, "mid3": 2, "final": 3}),
        (12, {"mid1": 2, "mid2": 5, "mid3": 8, "final": 11}),
        (24, {"mid1": 5, "mid2": 11, "mid3": 17, "final": 23}),
    ],
)
def test_spread(count, expected):
    assert spread([str(i) for i in range(count)]) == {layer: str(position) for layer, position in expected.items()}


@pytest.mark.parametrize("count", range(1, 40))
def test_spread_names_different_layers_in_order_for_any_depth(count):
    positions = [int(path) for path in spread([str(i) for i in range(count)]).values()]
    assert positions == sorted(set(positions))
    assert positions[-1] == count - 1


def test_dropout_before_the_head_rules_out_the_closed_form():
    assert (
        family_of(timm_model("resnet18", channels=[4, 4, 4, 4], layers=[1, 1, 1, 1], drop_rate=0.5)).pooled_linear
        is None
    )
    assert (
        family_of(timm_model("resnet18", channels=[4, 4, 4, 4], layers=[1, 1, 1, 1], global_pool="max")).pooled_linear
        is None
    )


def test_spatial_layouts():
    family = Family(layers={}, channel_axis=-1, prefix_tokens=1)
    vectors = torch.randn(2, 5)
    assert family.spatial(vectors, SIZE) is vectors
    assert family.spatial(torch.randn(2, 9, 5), SIZE).shape == (2, 5, 2, 4)
    channels_last = torch.randn(2, 3, 4, 5)
    assert torch.equal(family.spatial(channels_last, SIZE), channels_last.permute(0, 3, 1, 2))
    assert Family(layers={}).spatial(channels_last, SIZE) is channels_last
    with pytest.raises(ValueError, match=r"\(2, 1, 2, 3, 4\) has no known layout"):
        family.spatial(torch.zeros(2, 1, 2, 3, 4), SIZE)


def test_swin_maps_have_the_shape_of_the_padded_image():
    """65 rows of pixels become 17, 9, 5, 3 rows of tokens."""
    config = SwinConfig(
        image_size=64, patch_size=4, embed_dim=4, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2
    )
    model = SwinForImageClassification(config).double().eval()
    batch = make_batch(images=1, size=(65, 64))
    shapes = [
        tuple(explain(model, family_of(model), batch, InputXGradient(layer)).attribution(InputXGradient(layer)).shape)
        for layer in LAYERS[1:]
    ]
    # Window partitions pad their own input, so the block's tokens are those of the stage.
    assert shapes == [(1, 17, 16), (1, 9, 8), (1, 5, 4), (1, 3, 2)]


def test_blend_edits_copies_in_the_layout_of_the_original():
    original = torch.randn(2, 3, 2, 2)
    hard = torch.rand(4, 2, 2, 2) > 0.5
    family = Family(layers={})
    copies = family.blend(original, hard, torch.tensor(-1.0))
    for copy in range(4):
        for image in range(2):
            keep = hard[copy, image][None].expand(3, 2, 2)
            assert torch.equal(copies[2 * copy + image], original[image].masked_fill(~keep, -1.0))
    soft = hard.float() * 0.25
    fill = torch.randn(2, 3, 2, 2)
    blended = family.blend(original, soft, fill).unflatten(0, (4, 2))
    assert torch.allclose(blended, fill + soft[:, :, None] * (original - fill))
    with pytest.raises(ValueError, match="cannot edit an activation"):
        dataclasses.replace(family, channel_axis=-1).blend(torch.zeros(2, 4, 3), hard, torch.tensor(0.0))


def test_fresh_models_are_equal():
    first, second = fresh_model("vit"), fresh_model("vit")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("resnet", "classifier.1"),
        ("swin", "classifier"),
        ("timm_resnet", "timm_model.fc"),
        ("timm_swin", "timm_model.head.fc"),
        ("xdnn_resnet", "classifier"),
    ],
)
@pytest.mark.parametrize("change", ["mlp", "weight_norm"])
def test_a_changed_head_has_no_closed_form(name, path, change):
    model = fresh_model(name)
    assert family_of(model).pooled_linear == path
    head = model.get_submodule(path)
    if change == "mlp":
        model.set_submodule(
            path, nn.Sequential(head, nn.ReLU(), nn.Linear(head.out_features, head.out_features)).double()
        )
    else:
        nn.utils.parametrizations.weight_norm(head)
    assert family_of(model).pooled_linear is None


def test_a_longer_resnet_head_is_differentiated():
    model = fresh_model("resnet")
    last = model.classifier[1]
    model.classifier = nn.Sequential(nn.Flatten(), nn.Linear(last.in_features, 5), nn.Linear(5, 3)).double()
    objective = InputXGradient("final")
    found = explain(model, family_of(model), make_batch(), objective).attribution(objective)
    expected = explain(model, dataclasses.replace(family_of(model), pooled_linear=None), make_batch(), objective)
    assert torch.equal(found, expected.attribution(objective))
