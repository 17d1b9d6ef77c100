"""An operation that cannot be differentiated twice is named with its module and the fix; torch's bare error reaches nobody."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F
from torchvision.ops import DeformConv2d, deform_conv2d

from hf_guidance import Guidance
from hf_guidance.attributions import InputXGradient
from hf_guidance.families import Family
from hf_guidance.objectives import Energy
from hf_guidance.second_order.missing import named, without_double_backward


class Squares(Function):
    """A function as people write it, whose backward is not differentiable."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 2 * x * dy


class Square(nn.Module):
    def forward(self, x):
        return Squares.apply(x)


class Deformed(nn.Module):
    """Deformable convolution as an operation, without a module of torchvision."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3) / 6)

    def forward(self, x):
        return deform_conv2d(x, 0.1 * x[:, :1].expand(-1, 18, -1, -1), self.weight, padding=1)


class Kernel(nn.Module):
    """A kernel that is called by itself, past the function that is substituted."""

    def forward(self, x):
        return torch.ops.aten.hardsigmoid(x)


class Net(nn.Module):
    """A module between two convolutions, or before the last layer."""

    def __init__(self, middle):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.blocks = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), middle, nn.Conv2d(4, 4, 3, padding=1))
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 2)

    def forward(self, pixel_values):
        return {"logits": self.head(self.act(self.blocks(self.stem(pixel_values))).mean((2, 3)))}


FAMILY = Family(features="pixel_values", inputs=("pixel_values",), layers={"final": "act"})
ENERGY = Guidance(energy=Energy(InputXGradient("input")))
MIDDLES = {
    "once_differentiable": (Square, "Square"),
    "deform_conv2d": (Deformed, "Deformed"),
    "hardsigmoid": (Kernel, "Kernel"),
}


@pytest.mark.parametrize("operation", MIDDLES)
def test_a_step_names_operation_module_and_fix(operation, trainer_of):
    make, kind = MIDDLES[operation]
    torch.manual_seed(0)
    trainer = trainer_of(Net(make()), ENERGY, trainer={"family": FAMILY}, max_steps=1)
    with pytest.raises(ValueError, match=f"{operation}.*'blocks.1' .{kind}..*no double backward.*'final'"):
        trainer.train()
    assert trainer.state.global_step == 0
    assert not any(module._forward_hooks for module in trainer.model.modules())


def test_a_step_behind_it_is_taken(trainer_of):
    torch.manual_seed(0)
    guidance = Guidance(energy=Energy(InputXGradient("final")))
    trainer = trainer_of(Net(Deformed()), guidance, trainer={"family": FAMILY}, max_steps=1)
    assert trainer.train().global_step == 1


class Offsets(nn.Module):
    """torchvision's module with offsets of its own."""

    def __init__(self):
        super().__init__()
        self.offset, self.conv = nn.Conv2d(4, 18, 3, padding=1), DeformConv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(x, self.offset(x))


def test_known_modules_are_refused_when_the_trainer_is_made(trainer_of):
    net = Net(Offsets())
    with pytest.raises(ValueError, match=r"'blocks.1.conv' is a DeformConv2d.*'final'"):
        trainer_of(net, ENERGY, trainer={"family": FAMILY})
    guidance = Guidance(energy=Energy(InputXGradient("final")))
    assert trainer_of(net, guidance, trainer={"family": FAMILY}, max_steps=1).train().global_step == 1


def test_an_operation_of_the_model_itself_is_named(trainer_of):
    class Own(Net):
        def forward(self, pixel_values):
            x = Squares.apply(self.stem(pixel_values))
            return {"logits": self.head(self.act(self.blocks(x)).mean((2, 3)))}

    trainer = trainer_of(Own(nn.Identity()), ENERGY, trainer={"family": FAMILY}, max_steps=1)
    with pytest.raises(ValueError, match="in the forward of Own itself has no double backward"):
        trainer.train()


def test_errors_of_torch_are_recognised():
    x = torch.randn(2, 1, 4, 4, requires_grad=True)
    found = {}
    for name, run in {
        "hardsigmoid": F.hardsigmoid,
        "scaled_dot_product_flash_attention_for_cpu": lambda x: F.scaled_dot_product_attention(x, x, x),
        "embedding_bag": lambda x: F.embedding_bag(torch.tensor([[0]]), x.flatten(1)),
        "deform_conv2d": lambda x: deform_conv2d(x, x[:, :1].expand(-1, 18, -1, -1), x[:1, :, :3, :3], padding=1),
    }.items():
        (dx,) = torch.autograd.grad(run(x).square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError) as caught:
            dx.sum().backward()
        found[name] = without_double_backward(caught.value)
    assert list(found) == list(found.values())
    cudnn = (
        "Double backwards is not supported for CuDNN RNNs due to limitations in the CuDNN API. To run double backwards,"
    )
    assert without_double_backward(RuntimeError(cudnn)) == "CuDNN RNNs"
    assert without_double_backward(RuntimeError("CUDA out of memory.")) is None


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="out of memory"), named(nn.Identity(), lambda: pytest.fail("called")):
        raise RuntimeError("CUDA out of memory.")
