"""Of a single image, gradients through BatchNorm and attention are those of the same image in a batch (XCiT), in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, explain, family_of
from hf_guidance.attributions import InputXGradient, IntegratedGradients
from hf_guidance.forward import Forward
from hf_guidance.objectives import Energy
from hf_guidance.second_order import fast_double_backward, first_derivative, norms_in_one_layout

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def xcit() -> nn.Module:
    torch.manual_seed(0)
    arguments = {"depth": 2, "embed_dim": 16, "num_heads": 2, "cls_attn_layers": 1, "img_size": 64, "eta": 1.0}
    config = TimmWrapperConfig(architecture="xcit_nano_12_p16_224", num_labels=3, model_args=arguments)
    model = TimmWrapperForImageClassification(config).double().eval()
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 2)
    return model


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return xcit()


def map_of(model, images, method):
    """The map of the first image."""
    return torch.as_tensor(explain(model, images, attribution=method, target=1, max_rows=1).maps[0]).double()


@pytest.mark.parametrize("method", [InputXGradient("input"), IntegratedGradients(steps=2)])
def test_one_image_is_explained_as_among_others(model, method):
    torch.testing.assert_close(map_of(model, IMAGES[:1], method), map_of(model, IMAGES, method), rtol=1e-6, atol=1e-9)


def test_the_map_of_one_image_is_that_of_finite_differences(model):
    """The sum of the map is the derivative of the logit as the image grows."""
    with torch.no_grad():
        up, down = (float(model(IMAGES[:1] * (1 + step)).logits[0, 1]) for step in (1e-5, -1e-5))
    total = float(map_of(model, IMAGES[:1], InputXGradient("input")).sum())
    assert total == pytest.approx((up - down) / 2e-5, rel=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_a_plain_step_of_one_image(training):
    """The gradient of the task's loss is that of the same image twice."""
    model = xcit().train(training)
    found = []
    for images in (IMAGES[:1], IMAGES[[0, 0]]):
        labels = torch.ones(len(images), dtype=torch.long)
        forward = Forward(model, family_of(model), {"pixel_values": images, "labels": labels}, [])
        loss = F.cross_entropy(forward.logits(), labels)
        found.append(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))
    for one, two in zip(*found, strict=True):
        if two is not None:
            torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-12)


def test_a_step_of_the_trainer_on_one_image_without_annotation(tmp_path):
    model = xcit()
    rows = [{"pixel_values": image, "labels": 1, "objects": []} for image in IMAGES]
    rows[0]["objects"] = [{"bbox": [0.0, 0.0, 32.0, 32.0], "category": 1}]
    args = GuidanceArguments(str(tmp_path), report_to="none", use_cpu=True)
    trainer = GuidedTrainer(model, args, train_dataset=rows, guidance=Guidance(e=Energy(InputXGradient("input"))))
    found = []
    for images in ([rows[1]], [rows[1]] * 2):
        model.train().zero_grad()
        trainer.compute_loss(model, trainer.data_collator(images)).backward()
        found.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-8, atol=1e-12)


def layouts(values):
    """Tensors (1, 3, 2, 4) of equal numbers in other layouts, some with a stride of the images that says nothing."""
    by_place = values[0].permute(1, 2, 0).contiguous().flatten()
    strides = [torch.as_strided(by_place, values.shape, (n, 1, 12, 3)) for n in (0, 1, 3, 12, 24)]
    return [values, values.contiguous(memory_format=torch.channels_last), values.mT.contiguous().mT, *strides]


def normalised(x, weight, training):
    running = (None, None) if training else (torch.zeros(3).double(), torch.full((3,), 2.0).double())
    return F.batch_norm(x, *running, weight, None, training)


MODES = [lambda: norms_in_one_layout(nn.Identity(), 1), lambda: fast_double_backward(later=True)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("training", [False, True])
def test_every_layout_of_input_and_gradient(training, mode):
    generator = torch.Generator().manual_seed(0)
    x, dy = (torch.randn(1, 3, 2, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    kept = x.clone().requires_grad_()
    right = torch.autograd.grad(normalised(kept, weight, training), (kept, weight), dy)
    for given in layouts(x):
        leaf = given.detach().requires_grad_()
        for gradient in layouts(dy):
            with mode():
                y = normalised(leaf, weight, training)
            found = torch.autograd.grad(y, (leaf, weight), gradient)
            torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)


class InstanceNormed(nn.Module):
    """A convolution, InstanceNorm and attention over the places, whose gradients come with the channels last."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, stride=2).double()
        self.norm = nn.InstanceNorm2d(6, affine=True).double()
        self.head = nn.Linear(6, 3).double()

    def normalised(self, x):
        return self.norm(x)

    def forward(self, x):
        tokens = self.normalised(self.conv(x)).flatten(2).transpose(1, 2)
        return self.head(F.scaled_dot_product_attention(tokens, tokens, tokens.sin()).mean(1))


class GroupNormed(InstanceNormed):
    """The same by another kernel: groups of one channel each."""

    def normalised(self, x):
        return F.group_norm(x, 6, self.norm.weight, self.norm.bias)


def once(model, images, waiting=False):
    return fast_double_backward(later=True) if waiting else norms_in_one_layout(model, images)


def map_and_gradients(model, images, twice, waiting=False):
    """The map of a score, and the gradients of a loss on the map at the weights where it is differentiated twice."""
    leaf = images.clone(memory_format=torch.preserve_format).requires_grad_()
    with fast_double_backward() if twice else once(model, len(images), waiting):
        score = model(leaf)[:, 1].sum()
    with first_derivative():
        (gradient,) = torch.autograd.grad(score, leaf, create_graph=twice)
    again = torch.autograd.grad(gradient.sin().sum(), list(model.parameters())[:-1]) if twice else ()
    return gradient.detach(), *again


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize(("twice", "waiting"), [(False, False), (True, False), (False, True)])
def test_instance_norm_before_attention(images, layout, twice, waiting):
    given = IMAGES[:images].contiguous(memory_format=layout)
    ours, right = (map_and_gradients(kind(), given, twice, waiting) for kind in (InstanceNormed, GroupNormed))
    for one, other in zip(ours, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
