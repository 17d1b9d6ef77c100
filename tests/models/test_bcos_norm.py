"""The uncentred BatchNorm."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from hf_guidance.forward.batch_norm import couples_images, freeze, statistics_kept
from hf_guidance.models import UncenteredBatchNorm2d
from hf_guidance.second_order.dynamic_weights import fixed_dynamic_weights


def norm(training, **settings):
    torch.manual_seed(0)
    layer = UncenteredBatchNorm2d(3, **settings).double().train(training)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 1.5)
        layer.running_var.uniform_(0.5, 2.0)
    return layer


def batch():
    return 1.5 + torch.randn(3, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_it_is_batch_norm_with_the_mean_put_back():
    x, ours = batch(), norm(True)
    theirs = nn.BatchNorm2d(3).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.weight)
    mean = x.mean((0, 2, 3))
    biased = x.var((0, 2, 3), correction=0)
    put_back = (mean * ours.weight / (biased + 1e-5).sqrt())[:, None, None]
    expected = 0.9 * ours.running_var + 0.1 * biased
    torch.testing.assert_close(ours(x), theirs(x) + put_back)
    torch.testing.assert_close(ours.running_var, expected)
    assert ours.num_batches_tracked == 1
    assert ours.bias is None
    assert list(ours.state_dict()) == ["weight", "running_mean", "running_var", "num_batches_tracked"]


def test_evaluation_uses_the_running_variance_and_learns_nothing():
    x, layer = batch(), norm(False)
    before = layer.running_var.clone()
    scale = layer.weight / (before + 1e-5).sqrt()
    torch.testing.assert_close(layer(x), x * scale[:, None, None])
    assert torch.equal(layer.running_var, before)
    assert layer.num_batches_tracked == 0


def test_without_momentum_the_running_variance_is_the_mean_over_batches():
    layer = norm(True, momentum=None)
    batches = [batch(), 2 * batch() ** 2]
    for x in batches:
        layer(x)
    expected = torch.stack([x.var((0, 2, 3), correction=0) for x in batches]).mean(0)
    torch.testing.assert_close(layer.running_var, expected)


def call(layer):
    parameters = dict(layer.named_buffers())
    return lambda x, weight: functional_call(layer, {"weight": weight, **parameters}, (x,))


@pytest.mark.parametrize("training", [True, False])
def test_derivatives(training):
    layer, x = norm(training), batch().requires_grad_()
    weight = layer.weight.detach().clone().requires_grad_()
    assert gradcheck(call(layer), (x, weight))
    assert gradgradcheck(call(layer), (x, weight))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("learns", [True, False])
def test_the_fixed_gradient_is_differentiated_in_full(training, learns):
    layer, x = norm(training), batch().requires_grad_()
    weight = layer.weight.detach().clone().requires_grad_(learns)
    dy = torch.randn_like(x).requires_grad_()

    def fixed(dy, x, weight):
        y = call(layer)(x, weight)
        with fixed_dynamic_weights():
            (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
        return dx, y

    assert gradcheck(fixed, (dy, x, weight))


def test_in_training_images_do_not_see_each_other_with_weights_fixed():
    layer, x = norm(True), batch().requires_grad_()
    y = layer(x)
    with fixed_dynamic_weights():
        (fixed,) = torch.autograd.grad(y[0].sum(), x, retain_graph=True)
    assert not fixed[1:].any()
    (ordinary,) = torch.autograd.grad(y[0].sum(), x)
    assert ordinary[1:].any()


def test_the_library_sees_a_batch_norm():
    layer, x = norm(True), batch()
    assert couples_images(layer)
    before = layer.running_var.clone()
    with statistics_kept(layer):
        kept = layer(x)
    assert torch.equal(layer.running_var, before)
    assert layer.num_batches_tracked == 0
    torch.testing.assert_close(kept, layer(x))
    freeze(layer)
    assert not couples_images(layer)


def test_a_large_mean_does_not_swamp_the_variance():
    x = 1000 + torch.randn(8, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    layer = UncenteredBatchNorm2d(2)
    expected = x.double() / (x.double().var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    assert (layer(x) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_a_third_derivative_is_refused():
    layer, x = norm(True), batch().requires_grad_()
    with fixed_dynamic_weights():
        (dx,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="third derivative"):
        torch.autograd.grad(dx.square().sum(), x, create_graph=True)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"got \(3, 3\); \(batch, channels, height, width\) is needed"):
        norm(True)(torch.zeros(3, 3).double())
