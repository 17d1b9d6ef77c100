"""The channel mask: what it computes, where it is written, and what is refused."""

import copy
import json
import pickle

import pytest
import torch
from tiny import fresh_model, make_batch

from hf_guidance import explain, family_of
from hf_guidance.attributions import GradCAM
from hf_guidance.models import load_pruned, with_channel_mask
from hf_guidance.models.channel_mask import ChannelMask, attach_channel_mask, has_channel_mask
from hf_guidance.models.shared.image_classifier import image_classifier

LAYER = "resnet.encoder.stages.3"


def masked(pruned=(0, 3, 7)):
    model = fresh_model("resnet")
    attach_channel_mask(model, ChannelMask(LAYER, 20, tuple(pruned)))
    return model


def output_of(model, pixels):
    kept = []
    handle = model.get_submodule(LAYER).register_forward_hook(lambda module, args, output: kept.append(output))
    logits = model(pixel_values=pixels).logits
    handle.remove()
    return kept[0], logits


@pytest.mark.parametrize("training", [False, True])
def test_masked_channels_are_zero(training):
    pixels = make_batch()["pixel_values"]
    model, original = masked().train(training), fresh_model("resnet").train(training)
    h, _ = output_of(original, pixels)
    found, logits = output_of(model, pixels)
    keep = torch.ones(20, dtype=torch.double)
    keep[[0, 3, 7]] = 0
    assert torch.equal(found, h * keep[:, None, None])
    head = original.classifier[1]
    assert torch.allclose(logits, (h * keep[:, None, None]).mean((2, 3)) @ head.weight.T + head.bias)


def test_weights_of_pruned_channels_have_no_gradient():
    model = masked()
    model(pixel_values=make_batch()["pixel_values"]).logits.sum().backward()
    gradient = model.classifier[1].weight.grad
    assert not gradient[:, [0, 3, 7]].any()
    assert gradient[:, [1, 2, 4]].any()


def test_infinite_channels_are_zero_too():
    model, pixels = masked(), make_batch()["pixel_values"]
    model.get_submodule(LAYER).register_forward_pre_hook(lambda module, args: (args[0] * float("inf"),))
    found, _ = output_of(model, pixels)
    assert not found[:, [0, 3, 7]].any()


def test_copies_and_pickles_have_the_mask():
    pixels = make_batch()["pixel_values"]
    model = masked()
    expected = model(pixel_values=pixels).logits
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(pixel_values=pixels).logits, expected)
        assert has_channel_mask(other)


def test_names_of_weights_stay():
    assert masked().state_dict().keys() == fresh_model("resnet").state_dict().keys()


def test_another_mask_replaces_the_first():
    model = masked()
    attach_channel_mask(model, ChannelMask(LAYER, 20, (1,)))
    pixels = make_batch()["pixel_values"]
    h, _ = output_of(fresh_model("resnet"), pixels)
    assert torch.equal(output_of(model, pixels)[0], h * (torch.arange(20) != 1)[:, None, None])


def test_saved_and_loaded(tmp_path):
    model, pixels = masked().float(), make_batch()["pixel_values"].float()
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())["channel_mask"]
    assert written == {"layer": LAYER, "channels": 20, "channel_axis": 1, "pruned": [0, 3, 7]}
    again = load_pruned(tmp_path)
    assert torch.equal(again(pixel_values=pixels).logits, model(pixel_values=pixels).logits)
    assert ChannelMask.from_dict(again.config.channel_mask) == ChannelMask(LAYER, 20, (0, 3, 7))


def test_a_model_without_mask_is_loaded_as_it_is(tmp_path):
    fresh_model("resnet").save_pretrained(tmp_path)
    assert not has_channel_mask(load_pruned(tmp_path))


def test_what_the_library_loads_itself_has_the_mask(tmp_path):
    model = masked().float()
    model.save_pretrained(tmp_path)
    _, processor = image_classifier(None, ["a", "b"], "single_label_classification")
    processor.save_pretrained(tmp_path)
    loaded, _ = image_classifier(str(tmp_path), ["a", "b"], "single_label_classification")
    assert has_channel_mask(loaded)


def test_a_model_loaded_without_its_mask_is_refused(tmp_path):
    model = masked().float()
    model.save_pretrained(tmp_path)
    plain = type(model).from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"loaded without its mask.*load_pruned"):
        family_of(plain)
    with pytest.raises(ValueError, match="loaded without its mask"):
        explain(plain, make_batch()["pixel_values"].float(), attribution=GradCAM())
    family_of(with_channel_mask(plain))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pruned": [20]}, r"pruned names \[20\].*20 channels"),
        ({"pruned": [-1]}, "whole numbers from 0 to 19"),
        ({"pruned": [1, 1]}, "twice"),
        ({"pruned": [True]}, "whole numbers"),
        ({"pruned": [0.5]}, "whole numbers"),
        ({"pruned": list(range(20))}, "all 20 channels"),
        ({"pruned": "3"}, "it must have"),
        ({"channel_axis": 2}, "channel_axis=2"),
        ({"layer": "resnet.nowhere"}, "does not have"),
        ({"more": 1}, "it must have"),
    ],
)
def test_damaged_configurations(tmp_path, change, message):
    masked().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    plain = json.loads(file.read_text())
    plain["channel_mask"] |= change
    file.write_text(json.dumps(plain))
    with pytest.raises(ValueError, match=message):
        load_pruned(tmp_path)


def test_a_mask_of_another_width_is_refused_in_the_first_call(tmp_path):
    masked().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    plain = json.loads(file.read_text())
    plain["channel_mask"]["channels"] = 21
    file.write_text(json.dumps(plain))
    with pytest.raises(ValueError, match=r"the channel mask has 21 channels, but .* puts out 20"):
        load_pruned(tmp_path).float()(pixel_values=make_batch()["pixel_values"].float())
