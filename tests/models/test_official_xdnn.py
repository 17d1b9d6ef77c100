"""The authors' layout: names and blocks are torchvision's without BatchNorm, but that the shortcut is a bare convolution."""

import pytest
import torch
import torchvision
from torch import nn

from hf_guidance.models import XDNNResNetConfig, XDNNResNetForImageClassification, load_official_xdnn

CLASSES = 5


def torchvision_net(depth):
    torch.manual_seed(0)
    net = getattr(torchvision.models, f"resnet{depth}")(num_classes=CLASSES, norm_layer=lambda channels: nn.Identity())
    for module in net.modules():
        if isinstance(module, nn.Conv2d):  # without normalisation the sums of a hundred layers would overflow
            module.weight.data.mul_(0.5)
    return net.eval()


def official(net):
    return {name.replace("downsample.0", "downsample"): value for name, value in net.state_dict().items()}


def ours(depth=18, **fields):
    return XDNNResNetForImageClassification(XDNNResNetConfig.of_depth(depth, **{"num_labels": CLASSES} | fields)).eval()


@pytest.fixture(scope="module")
def net():
    return torchvision_net(18)


@pytest.fixture(scope="module")
def state(net):
    return official(net)


def pixels():
    return torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("depth", [18, 50])
def test_whole_networks(depth):
    net, model = torchvision_net(depth), ours(depth)
    load_official_xdnn(model, official(net))
    with torch.no_grad():
        expected = net(pixels())
        assert (expected - net.fc.bias).abs().max() > 1e-6
        torch.testing.assert_close(model(pixels()).logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [34, 101])
def test_names_and_shapes_of_whole_networks(depth):
    with torch.device("meta"):
        load_official_xdnn(ours(depth), official(torchvision_net(depth)))


@pytest.mark.parametrize("wrap", ["state_dict", "model", None])
@pytest.mark.parametrize("prefix", ["module.", ""])
def test_checkpoints_as_they_are_written(state, tmp_path, wrap, prefix):
    named = {prefix + name: value for name, value in state.items()}
    torch.save(
        {wrap: named, "epoch": 99, "best_acc1": torch.tensor(7.0)} if wrap else named, tmp_path / "model.pth.tar"
    )
    model = ours()
    load_official_xdnn(model, tmp_path / "model.pth.tar")
    assert torch.equal(model.stages[3][1].convolutions[1].weight, state["layer4.1.conv2.weight"])
    assert torch.equal(model.stages[1][0].shortcut.weight, state["layer2.0.downsample.weight"])
    assert torch.equal(model.classifier.bias, state["fc.bias"])


def test_a_head_without_bias_gives_a_bias_of_zero(state):
    model = ours()
    nn.init.ones_(model.classifier.bias)
    load_official_xdnn(model, {name: value for name, value in state.items() if name != "fc.bias"})
    assert not model.classifier.bias.any()
    assert torch.equal(model.classifier.weight, state["fc.weight"])


def test_the_head_is_left_alone_if_asked(state):
    model = ours(num_labels=7, head_bias=False)
    nn.init.ones_(model.classifier.weight)
    load_official_xdnn(model, state, head=False)
    assert bool((model.classifier.weight == 1).all())
    assert torch.equal(model.stem.convolution.weight, state["conv1.weight"])


def refused(model, state, message, **options):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_official_xdnn(model, state, **options)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_other_classes(state):
    refused(ours(num_labels=7), state, r"fc.weight \(5, 512\) instead of \(7, 512\).*Only the head differs.*head=False")
    without = {name: value for name, value in state.items() if "fc" not in name}
    refused(ours(), without, r"missing fc.bias, fc.weight\. Only the head differs")


def test_a_bias_for_a_head_without(state):
    refused(ours(head_bias=False), state, r"unknown fc.bias\. Build the model with head_bias=True")


@pytest.mark.parametrize("depth", [34, 50, 101])
def test_weights_of_another_depth(state, depth):
    with torch.device("meta"):
        other = official(torchvision_net(depth))
    refused(ours(18), other, rf"seem to be of depth {depth}; build the model with XDNNResNetConfig.of_depth\({depth}\)")
    with torch.device("meta"):
        deeper = ours(depth)
    with pytest.raises(ValueError, match="seem to be of depth 18"):
        load_official_xdnn(deeper, state)


def test_weights_of_no_known_depth(state):
    fewer = {name: value for name, value in state.items() if "layer4" not in name}
    refused(ours(), fewer, r"missing layer4.0.conv1.weight, .* and 1 more\. They do not belong to a ResNet-18 to -101")


def test_small_models_name_the_shapes(state):
    small = ours(hidden_sizes=[4, 4, 4, 4], embedding_size=4)
    refused(small, state, r"other shapes conv1.weight \(64, 3, 7, 7\) instead of \(4, 3, 7, 7\).*depth 18")


def test_nets_with_biases_or_batch_norm_are_no_xdnns(state):
    with_scales = state | {"bias1": torch.zeros(1), "layer1.0.bias1a": torch.zeros(1), "layer1.0.scale": torch.ones(1)}
    refused(ours(), with_scales, "unknown bias1, .*They have biases and scales: a Fixup ResNet, not an X-DNN")
    ordinary = torchvision.models.resnet18(num_classes=CLASSES).state_dict()
    refused(ours(), ordinary, "They have BatchNorm: an ordinary ResNet, not an X-DNN")


@pytest.mark.parametrize("given", [{"epoch": 3, "optimizer": {}}, {"state_dict": {"a": 1}}])
def test_something_else_is_refused(given):
    refused(ours(hidden_sizes=[4, 4, 4, 4]), given, "This is neither a state dict nor a checkpoint with one at")


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    refused(ours(hidden_sizes=[4, 4, 4, 4]), tmp_path / "list.pt", "neither a state dict.*: list")


def test_a_module_that_was_put_in_is_named(state):
    model = ours()
    model.stages[0][0].shortcut = nn.BatchNorm2d(64)
    refused(model, state, "missing layer1.0.downsample.weight, stages.0.0.shortcut.bias")
