"""What runs before the first explained layer runs as in a plain forward pass; what follows can be differentiated twice."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import MobileNetV1Config, MobileNetV1ForImageClassification

from hf_guidance import family_of
from hf_guidance.attributions import InputXGradient
from hf_guidance.forward import Forward
from hf_guidance.forward.recording import recording

STAGES = ("one", "two", "three")


class Stages(nn.Module):
    """Three convolutions with attention behind each, which notes how it was called."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.three = (nn.Conv2d(3, 3, 3, padding=1).double() for _ in STAGES)
        self.kinds: list[str] = []
        self.fused: list[bool] = []

    def forward(self, images):
        for stage in STAGES:
            images = self.get_submodule(stage)(images)
            self.kinds.append(type(images.grad_fn).__name__)
            images = images + F.scaled_dot_product_attention(images, images, images)
            self.fused.append(torch.backends.cuda.flash_sdp_enabled())
        return images


def called(layers, twice=True, given=None):
    """The net after a call in which some of its layers are explained, and their outputs."""
    net, images = Stages(), torch.randn(2, 3, 5, 5, dtype=torch.float64)
    leaf = images.requires_grad_() if "input" in layers else None
    edits = dict.fromkeys(layer for layer in layers if layer in STAGES) | (given or {})
    with recording(net, edits, layers, leaf, images=2, twice=twice) as recorded:
        net(images)
    return net, recorded


@pytest.mark.parametrize(
    ("layers", "before"), [(["input"], 0), (["one"], 1), (["three", "two"], 2), (["three"], 3), (["input", "three"], 0)]
)
def test_substitutes_are_what_follows_the_first_layer(layers, before):
    net, recorded = called(layers)
    assert [kind.startswith("ConvolutionBackward0") for kind in net.kinds] == [True] * before + [False] * (3 - before)
    assert net.fused == [True] * max(before - 1, 0) + [False] * (3 - max(before - 1, 0))
    assert set(recorded) == set(layers) - {"input"}
    assert torch.backends.cuda.flash_sdp_enabled()


def test_nothing_is_substituted_where_nothing_is_differentiated_twice():
    net, _ = called(["one"], twice=False)
    assert all(kind.startswith("ConvolutionBackward0") for kind in net.kinds)
    assert net.fused == [True] * 3


def test_an_edited_module_counts_for_the_start():
    net, _ = called(["three"], given={"two": lambda output: output * 2})
    assert [kind.startswith("ConvolutionBackward0") for kind in net.kinds] == [True, False, False]


def mobilenet():
    """With dropout between the pool and the head, so that the gradient at "final" is autograd's."""
    torch.manual_seed(0)
    config = MobileNetV1Config(num_labels=3, image_size=64, depth_multiplier=0.25, classifier_dropout_prob=0.5)
    model = MobileNetV1ForImageClassification(config).double().train()
    nn.init.normal_(model.classifier.weight)
    return model


def test_second_derivatives_behind_dropout_are_those_of_autograd():
    model, images = mobilenet(), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    family, method, classes = family_of(model), InputXGradient("final"), torch.tensor([0, 2])
    assert family.head_at("final") is None
    batch = {"pixel_values": images, "row": [0, 1], "slot": [0, 0], "target": classes}
    weights, parameters = torch.randn(2, 2, 2, dtype=torch.float64), list(model.parameters())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(1)
    maps = Forward(model, family, batch, method.needs()).attribution(method)
    found = torch.autograd.grad((weights * maps.sin()).sum(), parameters, allow_unused=True)

    model.load_state_dict(state)
    kept = []
    final = model.get_submodule(family.path("final", model))
    handle = final.register_forward_hook(lambda module, given, output: kept.append(output))
    torch.manual_seed(1)
    logits = model(pixel_values=images).logits
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[[0, 1], classes].sum(), kept[0], create_graph=True)
    expected = (kept[0] * gradient).sum(1)
    torch.testing.assert_close(maps, expected, rtol=1e-12, atol=1e-12)
    right = torch.autograd.grad((weights * expected.sin()).sum(), parameters, allow_unused=True)
    assert sum(gradient is not None and bool(gradient.any()) for gradient in right) > 10
    for one, other in zip(found, right, strict=True):
        if other is None:
            assert one is None or not one.any()
        else:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * float(other.abs().max()))
