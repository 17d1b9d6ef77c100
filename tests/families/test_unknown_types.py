"""Models that no file of families/ describes: trained at the input, at found layers, under PEFT, and with a family by hand."""

import copy
import pickle
from dataclasses import dataclass
from types import SimpleNamespace

import odd_nets
import pytest
import torch
from odd_nets import GRID, SIZE, Blocks, OddNet
from pages import block_with
from tiny import explain, fresh_model, make_batch, timm_model
from torch import nn
from unknown_types import plain_net, trainer_of

from hf_guidance import Family
from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.families import Layout, family_of
from hf_guidance.families.structure import places


@pytest.mark.parametrize("layer", ["input", "final", "blocks.1"])
def test_a_model_of_unknown_type_is_trained_and_measured(layer, tmp_path):
    trainer = trainer_of(Blocks(SimpleNamespace(image_size=SIZE)), layer, tmp_path)
    trainer.train()
    assert 0 <= trainer.evaluate()["eval_epg"] <= 1


def test_the_input_asks_nothing_of_the_net(tmp_path):
    """A net whose layers cannot be found is trained at its input, and refused at construction at any other layer."""
    with torch.random.fork_rng():
        trainer_of(OddNet(odd_nets.two_branches), "input", tmp_path).train()
    with pytest.raises(ValueError, match=r"layer 'odd' of OddNet cannot be read: .*branches"):
        trainer_of(OddNet(odd_nets.two_branches), "odd", tmp_path)


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_paths_need_no_prefix_of_peft(name):
    peft = pytest.importorskip("peft")
    model, plain = fresh_model(name), fresh_model(name)
    path = {"resnet": "resnet.encoder.stages.1", "vit": "vit.layers.1.layernorm_after"}[name]
    targets = {"resnet": ["convolution"], "vit": ["q_proj", "v_proj", "query", "value"]}[name]
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=targets)).double().eval()
    for layer in (path, "final"):
        method = InputXGradient(layer)
        found = explain(wrapped, family_of(wrapped), make_batch(), method).attribution(method)
        expected = explain(plain, family_of(plain), make_batch(), method).attribution(method)
        assert torch.allclose(found, expected, rtol=1e-9)  # LoRA begins at zero
    assert family_of(wrapped).path(f"base_model.model.{path}", wrapped) == path


def test_a_family_by_hand_reads_what_is_refused():
    """The subclass of docs/layers.md, for tokens column by column."""
    code = block_with("docs/layers.md", "class ByColumns")
    names = {"dataclass": dataclass, "Family": Family}
    exec(code.replace("// 16", f"// {odd_nets.PATCH}"), names)
    torch.manual_seed(0)
    model = OddNet(odd_nets.columns_of_tokens).eval()
    family = names["ByColumns"](layers={"final": "odd"}, channel_axis=-1)
    images = torch.randn(2, 3, *SIZE)
    batch = {"pixel_values": images, "target": torch.tensor([0, 1])}
    forward = explain(model, family, batch, GradCAM(relu=False))
    assert torch.allclose(forward.activation("final"), torch.tanh(model.patches(images)))
    assert forward.attribution(GradCAM(relu=False)).shape == (2, *GRID)


def test_layouts_by_hand_are_believed():
    family = Family(layers={"final": "odd"}, layouts={"odd": Layout(-1, 1)})
    model = OddNet(odd_nets.token_behind)
    assert family.layout("odd", model) == Layout(-1, 1)
    assert Family(layers={"final": "odd"}, channel_axis=-1, prefix_tokens=1).layout("odd", model) == Layout(-1, 1)


@pytest.mark.parametrize("options", [{"channel_axis": 2}, {"prefix_tokens": -1}, {"prefix_tokens": True}])
def test_impossible_layouts_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}=.*give"):
        Layout(**options)


def test_a_net_without_layers_says_at_its_input_what_stands_still(tmp_path):
    class Blind(OddNet):
        def forward(self, pixel_values):
            return super().forward(0 * pixel_values)

    with pytest.raises(ValueError, match=r"gradient at layer 'input' is zero .* Choose one of \['input'\]"):
        trainer_of(Blind(odd_nets.two_branches), "input", tmp_path).train()


def test_text_beside_images_needs_a_collator(tmp_path):
    class Reading(OddNet):
        def forward(self, pixel_values, input_ids=None):
            return super().forward(pixel_values)

    with pytest.raises(ValueError, match=r"Reading takes text beside images.*data_collator that makes input_ids"):
        trainer_of(Reading(lambda maps: maps), "input", tmp_path)


class Apart(nn.Module):
    """Two branches that meet at the head, so that there is no layer "final"."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(image_size=SIZE)
        self.a, self.b, self.head = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(3, 8, 8, 8), nn.Linear(16, 3)

    def forward(self, pixel_values):
        return {"logits": self.head(torch.cat([net(pixel_values).tanh().mean((2, 3)) for net in (self.a, self.b)], 1))}


def test_a_path_asks_for_no_other_layer(tmp_path, monkeypatch):
    model = Apart()
    with pytest.raises(
        ValueError, match=r"layer='aa' is neither one of \['input'\] nor .* nearest module paths are \['a'\]"
    ):
        family_of(model).path("aa", model)
    with pytest.raises(ValueError, match="neither is made from the other"):
        family_of(model).path("final", model)
    monkeypatch.setattr(places, "discover", None)
    trainer_of(model, "a", tmp_path).train()


def test_what_is_found_is_not_asked_for_by_its_repr_and_can_be_pickled():
    model = Apart()
    assert "FoundLayers" in repr(family_of(model))
    model = Blocks(SimpleNamespace(image_size=SIZE))
    family = family_of(model)
    for other in (pickle.loads(pickle.dumps(family)), copy.deepcopy(family)):
        assert other == family
        assert other.layers["final"] == "blocks.3.norm1"


def test_random_weights_are_made_once_and_freed_by_the_first_step(tmp_path, monkeypatch):
    made, make = [], places.random_weights
    monkeypatch.setattr(places, "random_weights", lambda model: made.append(1) or make(model))
    model = Blocks(SimpleNamespace(image_size=SIZE))
    trainer = trainer_of(model, "final", tmp_path)
    family_of(model).layout("blocks.0", model)
    family_of(model).layout("blocks.1", model)
    assert len(made) == 1
    assert places.places_of(model)._weights is not None
    trainer.train()
    assert places.places_of(model)._weights is None
    model.double()
    family_of(model).layout("blocks.2", model)
    model.float()
    family_of(model).layout("patches", model)
    assert len(made) == 3


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_nets_of_timm_with_other_channels_are_read(name, channels):
    model = timm_model(name, in_chans=channels).eval()
    assert family_of(model).layout(family_of(model).layers["final"], model).channel_axis in (1, -1)
    path = {"test_vit": "timm_model.blocks.1", "test_resnet": "timm_model.layer2"}[name]
    assert family_of(model).layout(path, model)


def test_channels_come_from_the_convolution_where_no_configuration_names_them():
    model = plain_net(channels=1)
    assert family_of(model).layers["final"] == "second"


def test_a_net_of_one_size_names_the_setting():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 2, 4, 4), nn.Linear(2 * 8 * 8, 3)

        def forward(self, pixel_values):
            return {"logits": self.head(self.conv(pixel_values).flatten(1))}

    model = Flat()
    with pytest.raises(
        ValueError, match=r"cannot be called on images \(1, 3, 224, 224\).*set image_size and num_channels"
    ):
        family_of(model).layout("conv", model)
    model.config = SimpleNamespace(image_size=32)
    assert family_of(model).layers["final"] == "conv"


def test_a_scalar_beside_the_maps_is_no_branch():
    model = OddNet(odd_nets.scalar_before).eval()
    assert family_of(model).layout("odd", model) == Layout(patch=(4, 4))


@pytest.mark.parametrize("name", ["DropNet", "PaddedBlock", "Padded"])
def test_a_class_is_no_dropout_by_a_part_of_its_name(name):
    model = plain_net()
    model.second = nn.Sequential(model.second)
    model.second.__class__ = type(name, (nn.Sequential,), {})
    assert family_of(model).layers["final"] == "second"
