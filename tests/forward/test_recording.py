"""What runs before the first explained layer runs as in a plain forward pass; what follows can be differentiated twice."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import MobileNetV1Config, MobileNetV1ForImageClassification

from hf_guidance import Family, family_of
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


# The first convolution is plain where its images have no gradient.
@pytest.mark.parametrize(
    ("layers", "plain", "before"),
    [(["input"], 0, 0), (["one"], 1, 0), (["three", "two"], 1, 1), (["three"], 2, 2), (["input", "three"], 0, 0)],
)
def test_substitutes_begin_with_the_first_layer(layers, plain, before):
    net, recorded = called(layers)
    assert [kind.startswith("ConvolutionBackward0") for kind in net.kinds] == [True] * plain + [False] * (3 - plain)
    assert net.fused == [True] * before + [False] * (3 - before)
    assert set(recorded) == set(layers) - {"input"}
    assert torch.backends.cuda.flash_sdp_enabled()


def test_nothing_is_substituted_where_nothing_is_differentiated_twice():
    net, _ = called(["one"], twice=False)
    assert all(kind.startswith("ConvolutionBackward0") for kind in net.kinds)
    assert net.fused == [True] * 3


def test_an_edited_module_counts_for_the_start():
    net, _ = called(["three"], given={"two": lambda output: output * 2})
    assert [kind.startswith("ConvolutionBackward0") for kind in net.kinds] == [True, False, False]


def kernels():
    on = torch.backends.cuda
    return on.flash_sdp_enabled(), on.mem_efficient_sdp_enabled(), on.math_sdp_enabled(), on.cudnn_sdp_enabled()


class OwnKernel(Stages):
    """Chooses a kernel of attention itself, around its second half."""

    def forward(self, images):
        images = self.one(images)
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
            images = self.two(images)
        if self.kinds:
            raise RuntimeError("as asked for")
        return self.three(images)


@pytest.mark.parametrize("fails", [False, True])
def test_kernels_of_attention_are_put_back(fails):
    net, standing = OwnKernel(), kernels()
    net.kinds += ["fail"] if fails else []
    ends = pytest.raises(RuntimeError, match="as asked for") if fails else nullcontext()
    with ends, recording(net, {"two": None}, ["two"], None, images=2, twice=True):
        net(torch.randn(2, 3, 5, 5, dtype=torch.float64))
    assert kernels() == standing


class Branches(nn.Module):
    """One branch reads what the other hands on, by an operation that has no double backward of PyTorch's."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.branch = (nn.Conv2d(3, 3, 3, padding=1).double() for _ in range(2))
        self.shortcut, self.head = nn.Identity(), nn.Linear(3, 2).double()

    def forward(self, pixel_values):
        tokens = self.stem(pixel_values).tanh()
        branch = F.hardsigmoid(self.branch(tokens))
        return {"logits": self.head((self.shortcut(tokens).square() + branch).mean((2, 3)))}


class Several(nn.Module):
    """A module that puts out the activation, and what it has made of it by such an operation."""

    def forward(self, tokens):
        activation = tokens.sin()
        return activation, F.hardsigmoid(activation).mean((2, 3))


class WithPool(Branches):
    def __init__(self) -> None:
        super().__init__()
        self.shortcut = Several()

    def forward(self, pixel_values):
        tokens, pooled = self.shortcut(self.stem(pixel_values))
        return {"logits": self.head(pooled + tokens.square().mean((2, 3)))}


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("kind", [Branches, WithPool])
def test_a_tensor_that_is_read_before_its_module_has_returned(kind, twice):
    """Of the shortcut the gradient is that of its output alone; of several outputs, of all that is made of the first."""
    net, images = kind(), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    family, method = Family(layers={"final": "shortcut"}), InputXGradient("final")
    batch = {"pixel_values": images, "row": [0, 1], "slot": [0, 0], "target": torch.tensor([0, 1])}
    with torch.set_grad_enabled(twice):
        maps = Forward(net, family, batch, method.needs()).attribution(method)
    weights = net.head.weight[[0, 1], :, None, None] / 16
    tokens = net.stem(images)
    tokens = tokens.tanh() if kind is Branches else tokens.sin()
    inner = (tokens.abs() < 3).double() / 6 if kind is WithPool else 0
    expected = (weights * tokens * (2 * tokens + inner)).sum(1)
    exact = 1e-12 if twice else 1e-6  # PyTorch's own derivative of the hard sigmoid has a sixth in float32
    torch.testing.assert_close(maps, expected, rtol=exact, atol=1e-9)
    if twice:
        parameters = [net.head.weight, net.stem.weight]
        found, right = (torch.autograd.grad(values.sin().sum(), parameters) for values in (maps, expected))
        torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-12)


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
