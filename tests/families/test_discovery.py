"""The layers of any image classifier are found by its structure: the last with places, and others before it."""

from types import SimpleNamespace

import odd_nets
import pytest
import torch
from odd_nets import SIZE, Blocks, OddNet
from tiny import explain, timm_model
from torch import nn
from transformers import (
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    RegNetConfig,
    RegNetForImageClassification,
)

from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.families import Layout, family_of


def test_a_regnet_has_its_stages():
    config = RegNetConfig(
        embedding_size=8, hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], groups_width=4, num_labels=3
    )
    model = RegNetForImageClassification(config).eval()
    family = family_of(model)
    assert family.layers["final"] == "regnet.encoder.stages.3"
    assert list(family.layers) == ["mid1", "mid2", "mid3", "final"]
    assert all(family.layout(path, model) == Layout() for path in family.layers.values())


def test_layers_are_found_with_gradients_off():
    with torch.no_grad():
        model = timm_model("convnext_atto", dims=[8, 12, 16, 20], depths=[1, 1, 1, 1]).eval()
        family = family_of(model)
        found = dict(family.layers)
    again = timm_model("convnext_atto", dims=[8, 12, 16, 20], depths=[1, 1, 1, 1]).eval()
    assert found == dict(family_of(again).layers)


def test_register_tokens_are_counted():
    config = Dinov2WithRegistersConfig(
        hidden_size=12, num_hidden_layers=4, num_attention_heads=2, image_size=32, patch_size=8, num_register_tokens=3,
        num_labels=3,
    )  # fmt: skip
    model = Dinov2WithRegistersForImageClassification(config).eval()
    family = family_of(model)
    assert family.layers["final"] == "dinov2_with_registers.layernorm"
    assert family.layout(family.layers["final"], model) == Layout(-1, 4, (8, 8))


def test_the_last_layer_of_a_class_token_is_the_last_blocks_first_norm():
    """After the last block only the class token reaches the head."""
    model = Blocks(SimpleNamespace(image_size=SIZE)).eval()
    family = family_of(model)
    assert family.layers["final"] == "blocks.3.norm1"
    assert family.layout("blocks.3.norm1", model) == Layout(-1, 1, (4, 4))
    batch = {"pixel_values": torch.randn(2, 3, *SIZE), "target": torch.tensor([0, 1])}
    for method in (GradCAM(relu=False), InputXGradient("final")):
        maps = explain(model, family, batch, method).attribution(method)
        assert maps.shape == (2, 6, 8)
        assert bool((maps.abs().flatten(1).sum(1) > 0).all())


def test_a_head_of_zeros_hides_no_layer():
    model = Blocks(SimpleNamespace(image_size=SIZE)).eval()
    nn.init.zeros_(model.head.weight)
    assert family_of(model).layers["final"] == "blocks.3.norm1"


def test_two_branches_have_no_last_layer():
    class Apart(OddNet):
        def __init__(self):
            super().__init__(lambda maps: maps)
            self.second = nn.Conv2d(3, 10, 8, 8)

        def forward(self, pixel_values):
            parts = [torch.tanh(self.patches(pixel_values)), torch.tanh(self.second(pixel_values))]
            return {"logits": self.head(sum(part.mean((2, 3)) for part in parts))}

    model = Apart().eval()
    with pytest.raises(ValueError, match="the logits come from 'patches', too, and neither is made from the other"):
        dict(family_of(model).layers)
    assert family_of(model).layout("second", model).channel_axis == 1


def test_a_net_without_places_keeps_its_input():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.config = SimpleNamespace(image_size=SIZE)
            self.head = nn.Linear(3, 3)

        def forward(self, pixel_values):
            return {"logits": self.head(pixel_values.mean((2, 3)))}

    model = Flat()
    family = family_of(model)
    method = InputXGradient()
    batch = {"pixel_values": torch.randn(1, 3, *SIZE), "target": torch.tensor([0])}
    assert explain(model, family, batch, method).attribution(method).shape == (1, *SIZE)
    with pytest.raises(ValueError, match=r"the layers of Flat are not known: no module has places.*family=Family"):
        dict(family.layers)


def test_stages_of_timm_that_put_channels_last_are_read_so():
    """Read as channels first, Grad-CAM of MambaOut was computed over (width, channels)."""
    model = timm_model("mambaout_femto", dims=[8, 12, 16, 20], depths=[1, 1, 1, 1]).eval()
    family = family_of(model)
    path = family.layers["final"]
    batch = {"pixel_values": torch.randn(1, 3, 96, 128), "target": torch.tensor([0])}
    method = GradCAM(relu=False)
    forward = explain(model, family, batch, method)
    kept = []
    handle = model.get_submodule(path).register_forward_hook(lambda module, args, output: kept.append(output))
    model(pixel_values=batch["pixel_values"])
    handle.remove()
    assert torch.allclose(forward.activation("final"), kept[0].movedim(-1, 1))
    assert forward.attribution(method).shape == (1, 3, 4)


def test_nets_of_timm_without_num_features_or_blocks_work():
    model = timm_model("test_byobnet").eval()
    assert family_of(model).layout(family_of(model).layers["final"], model) == Layout()


def test_odd_paths_of_known_architectures_are_read_by_their_own_layout():
    """The patch embedding of a ViT puts out maps, the MLP of a ConvNeXt puts channels last."""
    from tiny import tiny_family, tiny_model

    vit, convnext = tiny_model("vit"), tiny_model("convnext")
    assert tiny_family("vit").layout("vit.embeddings.patch_embeddings.projection", vit).channel_axis == 1
    path = "convnext.encoder.stages.2.layers.0.pwconv1"
    assert tiny_family("convnext").layout(path, convnext).channel_axis == -1
    assert odd_nets.PATCH == 4
