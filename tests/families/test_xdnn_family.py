"""What breaks the homogeneity of a bias-free ResNet, and what becomes of integrated gradients then."""

import dataclasses

import pytest
import torch
from tiny import explain, fresh_model, make_batch, relative_error
from torch import nn

from hf_guidance.attributions import InputXGradient, IntegratedGradients
from hf_guidance.families import family_of


class OtherConvolution(nn.Conv2d):
    """A convolution that is none."""

    def forward(self, x):
        return super().forward(x).tanh()


def replaced(path, module):
    model = fresh_model("xdnn_resnet")
    model.set_submodule(path, module.double())
    return model


def mlp(bias):
    return nn.Sequential(nn.Linear(20, 5, bias=bias), nn.ReLU(), nn.Linear(5, 3))


@pytest.mark.parametrize(
    ("path", "module", "expected"),
    [
        ("stem.convolution", nn.Conv2d(3, 8, 7, 2, 3), ("stem.convolution",)),
        ("stages.1.0.convolutions.1", nn.Conv2d(12, 12, 3, padding=1), ("stages.1.0.convolutions.1",)),
        ("stages.2.0.shortcut", nn.Sequential(nn.Conv2d(12, 16, 1, 2, bias=False), nn.BatchNorm2d(16)),
         ("stages.2.0.shortcut.1",)),
        ("stages.0.0.shortcut", nn.GELU(), ("stages.0.0.shortcut",)),
        ("stem.convolution", OtherConvolution(3, 8, 7, 2, 3, bias=False), ("stem.convolution",)),
        ("classifier", mlp(True), ("classifier.0",)),
        ("classifier", nn.Sequential(nn.LayerNorm(20), nn.Linear(20, 3)), ("classifier.0",)),
        ("classifier", nn.GELU(), ("classifier",)),
        ("classifier", mlp(False), ()),
        ("stem.pooling", nn.AvgPool2d(3, 2, 1), ()),
        ("stages.0.0.shortcut", nn.LeakyReLU(), ()),
    ],
)  # fmt: skip
def test_modules_that_break_homogeneity_are_named(path, module, expected):
    assert family_of(replaced(path, module)).biases == expected


def test_a_hook_may_break_homogeneity():
    model = fresh_model("xdnn_resnet")
    hook = model.stem.register_forward_hook(lambda module, args, output: output + 1)
    assert family_of(model).biases == ("stem",)
    hook.remove()
    assert family_of(model).biases == ()


@pytest.mark.parametrize("layer", ["stages.1.0.convolutions.0", "stages.1.0.shortcut"])
def test_inside_a_branch_the_path_is_walked(layer):
    """The other branch does not shrink along the path, so that one gradient is not exact there."""
    model = fresh_model("xdnn_resnet")
    batch = make_batch()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    walked, exact = IntegratedGradients(layer, steps=3), IntegratedGradients(layer, exact=True)
    unknown = dataclasses.replace(family_of(model), biases=None)
    expected = explain(model, unknown, batch, walked).attribution(walked)
    assert relative_error(explain(model, family_of(model), batch, walked).attribution(walked), expected.detach()) < 1e-9
    with pytest.raises(ValueError, match=r"exact=True.*past which other branches may run"):
        explain(model, family_of(model), batch, exact).attribution(exact)


def test_a_net_as_built_has_none():
    model = fresh_model("xdnn_resnet")
    assert model.classifier.bias is not None
    assert family_of(model).biases == ()
    assert family_of(model).pooled_linear == "classifier"


def test_parametrised_weights_are_weights():
    model = fresh_model("xdnn_resnet")
    nn.utils.parametrizations.weight_norm(model.stages[0][0].convolutions[0])
    nn.utils.parametrizations.weight_norm(model.classifier)
    assert family_of(model).biases == ()


def test_parameters_outside_the_known_modules_are_named():
    model = fresh_model("xdnn_resnet")
    model.register_parameter("offset", nn.Parameter(torch.zeros(())))
    model.stages[1].register_parameter("scale", nn.Parameter(torch.ones(())))
    model.extra = nn.Linear(2, 2)
    assert family_of(model).biases == ("offset", "stages.1", "extra")


def biased():
    convolution = nn.Conv2d(8, 8, 3, padding=1).double()
    nn.init.constant_(convolution.bias, 0.3)
    return replaced("stages.0.0.convolutions.1", convolution)


def test_the_exact_path_refuses_a_bias_and_names_it():
    model, method = biased(), IntegratedGradients(exact=True)
    with pytest.raises(ValueError, match=r"exact=True.*'stages\.0\.0\.convolutions\.1'.*exact=False to walk the path"):
        explain(model, family_of(model), make_batch(), method).attribution(method)


def test_without_exact_the_path_is_walked_where_there_is_a_bias():
    model, method = biased(), IntegratedGradients(steps=5)
    forward = explain(model, family_of(model), make_batch(), method, InputXGradient())
    unknown = dataclasses.replace(family_of(model), biases=None)
    walked = explain(model, unknown, make_batch(), method).attribution(method)
    assert torch.equal(forward.attribution(method), walked)
    assert relative_error(forward.attribution(InputXGradient()), walked.detach()) > 1e-3
