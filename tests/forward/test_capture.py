from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from tiny import SIZE, explain, make_batch, tiny_family, tiny_model
from torch import nn
from transformers.utils import ModelOutput

from hf_guidance.attributions import InputXGradient, IntegratedGradients
from hf_guidance.common.outputs import activation_of
from hf_guidance.families import Family
from hf_guidance.forward.capture import captured

Named = namedtuple("Named", "x y")


@dataclass
class TwoFields(ModelOutput):
    first: torch.Tensor | None = None
    second: str | None = None


class Parts(nn.Module):
    def __init__(self, inplace=False):
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(3, 2, 1), nn.ReLU(inplace), nn.Linear(2, 3)
        self.spare = nn.Linear(1, 1)

    def forward(self, pixel_values):
        return {"logits": self.head(self.act(self.conv(pixel_values)).mean((-2, -1)))}


def test_outputs_are_recorded_and_hooks_removed():
    model, x = Parts(), torch.randn(1, 3, 4, 4)
    with captured(model, {"conv": None, "head": None}) as recorded:
        logits = model(x)["logits"]
    assert recorded["head"] is logits
    assert torch.equal(recorded["conv"], model.conv(x))
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_are_removed_after_an_error_in_the_block():
    model = Parts()

    def fail():
        with captured(model, {"conv": None}):
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert not model.conv._forward_hooks


def test_edits_replace_the_output():
    model, x = Parts(), torch.randn(2, 3, 4, 4)
    with captured(model, {"conv": lambda output: output * 0}) as recorded:
        logits = model(x)["logits"]
    assert not recorded["conv"].any()
    assert torch.allclose(logits, model.head.bias.expand(2, 3))


@pytest.mark.parametrize("wrap", [lambda t: (t, "rest"), lambda t: TwoFields(t, "rest")], ids=["tuple", "output"])
def test_the_first_tensor_of_a_structured_output_is_taken(wrap):
    class Structured(nn.Module):
        def forward(self, x):
            return wrap(x * 2)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Structured()

        def forward(self, x):
            return self.inner(x)

    model = Model()
    with captured(model, {"inner": None}) as recorded:
        model(torch.ones(2))
    assert recorded["inner"].tolist() == [2, 2]
    with captured(model, {"inner": lambda t: t + 1}):
        output = model(torch.ones(2))
    first, rest = output.values() if isinstance(output, TwoFields) else output
    assert first.tolist() == [3, 3]
    assert rest == "rest"


def test_an_output_overwritten_in_place_is_refused():
    model = Parts(inplace=True).double()
    with pytest.raises(ValueError, match=r"output of 'conv' is overwritten in place.*inplace=False"):
        explain(model, Family(layers={}), make_batch(), InputXGradient("conv"))
    assert (
        explain(model, Family(layers={}), make_batch(), InputXGradient("act")).attribution(InputXGradient("act")).any()
    )


def test_an_output_overwritten_in_place_by_timm_is_refused():
    with pytest.raises(ValueError, match=r"timm_model\.bn1.*overwritten in place"):
        explain(tiny_model("timm_resnet"), tiny_family("timm_resnet"), make_batch(), InputXGradient("timm_model.bn1"))


def test_a_module_that_does_not_run_is_refused():
    with pytest.raises(ValueError, match="module 'spare' did not run"):
        explain(Parts().double(), Family(layers={}), make_batch(), InputXGradient("spare"))


def test_without_gradients_nothing_is_made_to_require_them():
    model = Parts()
    with torch.no_grad(), captured(model, {"conv": None}) as recorded:
        model(torch.zeros(1, 3, *SIZE))
    assert not recorded["conv"].requires_grad


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: [t], lambda t: (None, t), lambda t: (t.argmax(-1), t), lambda t: ((t, 1),), lambda t: {"a": t},
        lambda t: (t.mean(), t), lambda t: Named(t, None),
    ],
    ids=["list", "nothing first", "indices first", "nested", "dict", "scalar first", "namedtuple"],
)  # fmt: skip
@pytest.mark.parametrize("frozen", [False, True])
def test_outputs_of_any_kind_are_recorded_differentiated_and_edited(wrap, frozen):
    class Wrapping(nn.Module):
        def forward(self, x):
            return wrap(x)

    class Model(Parts):
        def __init__(self):
            super().__init__()
            self.wrapping = Wrapping()

        def forward(self, pixel_values):
            maps = activation_of(self.wrapping(self.conv(pixel_values)))
            return {"logits": self.head(self.act(maps).mean((-2, -1)))}

    model = Model().double()
    model.conv.requires_grad_(not frozen)
    family = Family(layers={"final": "wrapping"})
    batch = make_batch()
    for method in (InputXGradient("final"), IntegratedGradients("final", steps=2)):
        found = explain(model, family, batch, method).attribution(method)
        plain = explain(model, Family(layers={"final": "conv"}), batch, method).attribution(method)
        assert found.any()
        assert torch.allclose(found, plain)
