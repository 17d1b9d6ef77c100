"""The closed form of the gradient at "final" is taken only where the head is a Linear on the plain mean of the places."""

import dataclasses

import pytest
import torch
from tiny import explain, fresh_model, make_batch
from torch import nn

from hf_guidance.attributions import InputXGradient
from hf_guidance.families import family_of

POOLS = {"resnet": "resnet.pooler", "swin": "swin.pooler", "timm_resnet": "timm_model.global_pool.pool",
         "timm_swin": "timm_model.head.global_pool.pool"}  # fmt: skip
MAXIMA = {
    "resnet": nn.AdaptiveMaxPool2d((1, 1)),
    "swin": nn.AdaptiveMaxPool1d(1),
    "timm_resnet": nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()),
}


def agrees(model):
    """Whether the gradient in use is autograd's."""
    family, method, batch = family_of(model), InputXGradient("final"), make_batch()
    plain = dataclasses.replace(family, pooled_linear=None)
    found, expected = (explain(model, each, batch, method).attribution(method) for each in (family, plain))
    return torch.allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", POOLS)
def test_a_mean_has_one(name):
    model = fresh_model(name)
    assert family_of(model).pooled_linear is not None
    assert agrees(model)


@pytest.mark.parametrize("name", ["resnet", "swin", "timm_resnet"])
def test_a_maximum_has_none(name):
    model = fresh_model(name)
    model.set_submodule(POOLS[name], MAXIMA[name])
    assert family_of(model).pooled_linear is None
    assert agrees(model)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("resnet", "classifier"),
        ("resnet", "classifier.0"),
        ("timm_resnet", "timm_model.global_pool"),
        ("timm_swin", "timm_model.head"),
    ],
)
def test_a_hook_on_the_way_to_the_head_rules_it_out(name, path):
    model = fresh_model(name)
    model.get_submodule(path).register_forward_pre_hook(lambda module, args: (args[0].relu(), *args[1:]))
    assert family_of(model).pooled_linear is None
    assert agrees(model)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("kind", ["hook", "subclass", "two places"])
def test_a_pool_that_may_do_something_else_has_none(name, kind):
    model = fresh_model(name)
    pool = model.get_submodule(POOLS[name])
    if kind == "hook":
        pool.register_forward_hook(lambda module, args, output: output * 2)
    elif kind == "subclass":
        pool.__class__ = type("Weighted", (type(pool),), {})
    else:
        model.set_submodule(POOLS[name], nn.AdaptiveAvgPool2d((2, 2)))
    assert family_of(model).pooled_linear is None
