"""Weights of the authors' B-cos ResNets: both layouts, and everything that does not fit."""

import pytest
import torch
from tiny_bcos import golden_batch, golden_net, pixels, state_of, tiny_net

from hf_guidance.models import BcosResNetConfig, BcosResNetForImageClassification, load_official_bcos
from hf_guidance.models.bcos_resnet.official import official_names


def their_state(model, prefix=""):
    """The weights of a model of ours under their names."""
    own = model.state_dict()
    return {prefix + theirs: own[ours].clone() for theirs, ours in official_names(model.config).items()}


@pytest.mark.parametrize("prefix", ["", "0.", "module.", "module.0.", "model."])
@pytest.mark.parametrize("layer_type", ["basic", "bottleneck"])
def test_a_state_dict_loads_whatever_its_prefix(prefix, layer_type):
    first, second = (tiny_net(seed, layer_type=layer_type) for seed in (0, 1))
    load_official_bcos(second, their_state(first, prefix))
    assert torch.equal(second(pixels()).logits, first(pixels()).logits)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_every_parameter_of_the_usual_depths_has_a_name_of_theirs(depth):
    with torch.device("meta"):
        model = BcosResNetForImageClassification(BcosResNetConfig.of_depth(depth))
    names = official_names(model.config)
    assert sorted(names.values()) == sorted(model.state_dict())
    assert len(set(names)) == len(names)


def test_the_golden_net_from_a_file(golden, agree, tmp_path):
    name = "model_guidance/bcos_mini_resnet"
    data = golden(name)
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": state_of(data)}, file)
    model = golden_net(data)
    with torch.no_grad():
        model.classifier.weight.zero_()
    load_official_bcos(model, file)
    agree(f"{name} (logits)", model(golden_batch(data)["pixel_values"]).logits, data["eval_forward_logits_model_call"])


def test_buffers_that_no_layer_reads_may_be_missing():
    first, second = tiny_net(0), tiny_net(1)
    state = their_state(first)
    kept = {name: value for name, value in state.items() if not name.endswith(("running_mean", "num_batches_tracked"))}
    assert len(kept) < len(state)
    load_official_bcos(second, kept)
    assert torch.equal(second(pixels()).logits, first(pixels()).logits)


def test_without_the_head_other_classes_fit():
    first, second = tiny_net(0), tiny_net(1, num_labels=5)
    head = second.classifier.weight.clone()
    load_official_bcos(second, their_state(first), head=False)
    assert torch.equal(second.classifier.weight, head)
    assert torch.equal(
        second.stages[3][0].layers[2].convolution.weight, first.stages[3][0].layers[2].convolution.weight
    )
    with pytest.raises(ValueError, match=r"fc.linear.weight \(3, 20, 1, 1\) for classifier.weight \(5,.*head=False"):
        load_official_bcos(second, their_state(first))


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (
            50,
            18,
            r"weights of a ResNet-50 \(bottleneck blocks \[3, 4, 6, 3\]\), the model is a ResNet-18 \(basic blocks",
        ),
        (34, 50, r"weights of a ResNet-34 \(basic blocks \[3, 4, 6, 3\]\), the model is a ResNet-50"),
        (101, 50, r"weights of a ResNet-101 \(bottleneck blocks \[3, 4, 23, 3\]\), the model is a ResNet-50"),
    ],
)
def test_weights_of_another_depth_are_named(theirs, ours, message):
    with torch.device("meta"):
        nets = [BcosResNetForImageClassification(BcosResNetConfig.of_depth(depth)) for depth in (theirs, ours)]
    with pytest.raises(ValueError, match=message):
        load_official_bcos(nets[1], their_state(nets[0]))


def test_weights_of_no_usual_depth_are_named_by_their_blocks():
    with pytest.raises(ValueError, match=r"a ResNet of unusual depth \(bottleneck blocks \[1, 1, 1\]\)"):
        load_official_bcos(tiny_net(), their_state(tiny_net(hidden_sizes=(8, 12, 16), depths=(1, 1, 1))))


def test_missing_and_unknown_parameters_are_listed_and_nothing_is_loaded():
    model, state = tiny_net(0), their_state(tiny_net(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state["bias"] = state.pop("bn1.weight")
    with pytest.raises(ValueError, match=r"missing \['bn1.weight'\], unknown \['bias'\]"):
        load_official_bcos(model, state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"weight": torch.zeros(1)}, r"0 keys end in conv1.linear.weight.*begins with \['weight'\]"),
        ({"epoch": 3}, "no state dict is given"),
    ],
)
def test_something_else_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        load_official_bcos(tiny_net(), source)
