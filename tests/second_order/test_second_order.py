"""The substitutes have the values, gradients and second derivatives of the ordinary operations."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from tiny import BUILDERS, CLASSES, SIZE, fresh_model
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hf_guidance.families import family_of
from hf_guidance.second_order import fast_double_backward, first_derivative


def _random(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


MEAN, VARIANCE = torch.linspace(-1, 1, 3).double(), torch.tensor([0.5, 1.0, 2.0]).double()
OPERATIONS = {
    "conv": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(2, 3, 4, 5), (4, 3, 3, 3), (4,)]),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, padding=1), [(2, 3, 5), (4, 3, 3), (4,)]),
    "strided stem": (lambda x, w, b: F.conv2d(x, w, b, 2, 1), [(2, 3, 7, 6), (4, 3, 3, 3), (4,)]),
    "uneven stem": (lambda x, w: F.conv2d(x, w, None, 2, (0, 2)), [(2, 3, 8, 6), (4, 3, 3, 5)]),
    "patches": (lambda x, w, b: F.conv2d(x, w, b, 2), [(2, 3, 5, 6), (4, 3, 2, 2), (4,)]),
    "depthwise": (lambda x, w, b: F.conv2d(x, w, b, 1, 1, 1, 3), [(2, 3, 4, 5), (3, 1, 3, 3), (3,)]),
    "grouped, dilated": (lambda x, w: F.conv2d(x, w, None, 1, 2, 2, 2), [(2, 4, 4, 5), (4, 2, 3, 3)]),
    "same": (lambda x, w, b: F.conv2d(x, w, b, padding="same"), [(2, 3, 4, 5), (4, 3, 3, 3), (4,)]),
    "same, even": (lambda x, w, b: F.conv2d(x, w, b, padding="same"), [(2, 3, 4, 5), (4, 3, 2, 2), (4,)]),
    "transposed input": (lambda x, w: F.conv2d(x.mT, w, padding=1), [(2, 3, 5, 4), (4, 3, 3, 3)]),
    "layer norm": (lambda x, w, b: F.layer_norm(x, (5,), w, b), [(2, 3, 5), (5,), (5,)]),
    "layer norm, two dimensions": (lambda x, w, b: F.layer_norm(x, (3, 5), w, b), [(2, 3, 5), (3, 5), (3, 5)]),
    "layer norm without weight": (lambda x: F.layer_norm(x, (5,)), [(2, 3, 5)]),
    "gelu": (F.gelu, [(2, 3, 5)]),
    "tanh gelu": (lambda x: F.gelu(x, approximate="tanh"), [(2, 3, 5)]),
    "relu": (F.relu, [(2, 3, 5)]),
    "relu in place": (lambda x: F.relu(x + 0.1, inplace=True), [(2, 3, 5)]),
    "relu in place of a view": (lambda x: F.relu((2 * x)[:, 1:], inplace=True), [(2, 3, 5)]),
    "batch norm": (lambda x, w, b: F.batch_norm(x, MEAN, VARIANCE, w, b), [(2, 3, 4, 5), (3,), (3,)]),
    "batch norm without weight": (lambda x: F.batch_norm(x, MEAN, VARIANCE), [(2, 3, 4, 5)]),
    "batch norm, train": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), [(3, 3, 2, 2), (3,), (3,)]),
    "batch norm, train, without weight": (lambda x: F.batch_norm(x, None, None, training=True), [(3, 3, 2, 2)]),
    "batch norm, train, vectors": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), [(5, 3), (3,), (3,)]),
}


def _inputs(name):
    torch.manual_seed(0)
    operation, shapes = OPERATIONS[name]
    return operation, [_random(*shape) for shape in shapes]


def _fast(operation, leaf=None):
    def run(*inputs):
        with fast_double_backward(leaf):
            return operation(*inputs)

    return run


@pytest.mark.parametrize("name", OPERATIONS)
def test_derivatives_agree_with_finite_differences(name):
    operation, inputs = _inputs(name)
    assert gradcheck(_fast(operation), inputs)
    assert gradgradcheck(_fast(operation), inputs)

    def derivative(dy, *inputs):
        output = _fast(operation)(*inputs)
        with first_derivative():
            return torch.autograd.grad(output, inputs[0], dy, create_graph=True)[0]

    assert gradcheck(derivative, [torch.randn_like(operation(*inputs)).requires_grad_(), *inputs])


def _explained_loss(operation, inputs, first=first_derivative):
    output = operation(*inputs)
    with first():
        (dx,) = torch.autograd.grad((output**3).sum(), inputs[0], create_graph=True)
    return (dx * inputs[0]).square().sum() + output.square().sum()


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("frozen", [False, True])
def test_all_gradients_equal_autograd(name, frozen):
    operation, inputs = _inputs(name)
    for weight in inputs[1:]:
        weight.requires_grad_(not frozen)
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    ours, theirs = (torch.autograd.grad(_explained_loss(run, inputs), wanted) for run in (_fast(operation), operation))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_the_explained_leaf_gets_no_gradient_from_the_last_pass():
    operation, inputs = _inputs("conv")
    output = _fast(operation, inputs[0])(*inputs)
    output.sum().backward()
    assert inputs[0].grad is None
    assert inputs[1].grad is not None


def test_weights_that_depend_on_the_explained_input_keep_their_gradient():
    x, w = _random(2, 3, 4, 4), _random(4, 3, 3, 3)

    def dynamic(x, w):
        return F.conv2d(x, w * x.mean(), padding=1)

    ours, theirs = (torch.autograd.grad(_explained_loss(run, (x, w)), (x, w)) for run in (_fast(dynamic), dynamic))
    torch.testing.assert_close(ours, theirs)


def test_a_third_derivative_is_refused():
    x = _random(4)
    y = _fast(F.gelu)(x)
    with first_derivative():
        (dx,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="third derivative"):
        torch.autograd.grad(dx.sum(), x, create_graph=True)


def test_checkpointed_regions_fall_through():
    operation, inputs = _inputs("layer norm")

    def checkpointed(*inputs):
        return checkpoint(operation, *inputs, use_reentrant=False)

    ours, theirs = (
        torch.autograd.grad(_explained_loss(run, inputs), inputs) for run in (_fast(checkpointed), operation)
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["conv", "depthwise", "patches", "layer norm", "gelu"])
def test_bfloat16_autocast_as_without_substitutes(name):
    operation, inputs = _inputs(name)
    inputs = [tensor.detach().float().requires_grad_() for tensor in inputs]
    results = []
    for run in (_fast(operation), operation):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = run(*inputs)
        with first_derivative():
            (dx,) = torch.autograd.grad(output.float().square().sum(), inputs[0], create_graph=True)
        results.append((output, *torch.autograd.grad(dx.square().sum(), inputs, allow_unused=True)))
    for a, b in zip(*results, strict=True):
        if a is None or b is None:
            assert a is b
            continue
        assert a.dtype == b.dtype
        assert (a - b).norm() <= 0.02 * b.norm() + 1e-6


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", BUILDERS)
def test_whole_models_equal_autograd(name, memory_format):
    _agree(fresh_model(name), memory_format)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["resnet", "timm_resnet"])
def test_whole_models_in_train_mode_equal_autograd(name, memory_format):
    _agree(fresh_model(name).train(), memory_format)


def _agree(model, memory_format):
    family = family_of(model)
    torch.manual_seed(0)
    images = torch.randn(2, 3, *SIZE, dtype=torch.float64).to(memory_format=memory_format)
    results = []
    for fast in (True, False):
        leaf = images.detach().requires_grad_()
        with fast_double_backward(leaf) if fast else nullcontext():
            logits = model(pixel_values=leaf)[family.logits]
        with first_derivative():
            (gradient,) = torch.autograd.grad(logits[:, : CLASSES - 1].sum(), leaf, create_graph=True)
        loss = (gradient * leaf).sum(1).abs().sum() + logits.square().sum()
        parameters = [p for p in model.parameters() if p.requires_grad]
        results.append((loss, torch.autograd.grad(loss, parameters, allow_unused=True)))
    (ours, our_gradients), (theirs, their_gradients) = results
    assert abs(ours.item() - theirs.item()) <= 1e-10 * abs(theirs.item())
    scale = max(g.abs().max().item() for g in their_gradients if g is not None)
    for a, b in zip(our_gradients, their_gradients, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a - b).abs().max().item() <= 1e-10 * scale


def test_running_statistics_learn_once_as_without_substitutes():
    ours, theirs = (nn.BatchNorm2d(3, momentum=0.3, dtype=torch.float64) for _ in range(2))
    x = _random(4, 3, 2, 2)
    _explained_loss(_fast(ours), (x,)).backward()
    _explained_loss(theirs, (x,)).backward()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-14, atol=0)
    assert ours.num_batches_tracked == 1


@pytest.mark.parametrize("affine", [False, True])
def test_batch_statistics_far_from_zero_keep_their_precision(affine):
    layer = nn.BatchNorm2d(3, affine=affine)
    x = (torch.randn(8, 3, 6, 6) + 300).requires_grad_()
    exact = x.detach().double().requires_grad_()
    ours = torch.autograd.grad(_explained_loss(_fast(layer), (x,)), x)[0]
    theirs = torch.autograd.grad(_explained_loss(layer.double(), (exact,)), exact)[0]
    plain = torch.autograd.grad(_explained_loss(layer.float(), (x,)), x)[0]
    assert (ours - theirs).norm() <= 2 * (plain - theirs).norm()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("images", [1, 2])
def test_batch_norm_whose_gradient_comes_from_attention(training, images):
    """Of one image, PyTorch's own reads a gradient in the layout (places, channels) in the wrong order."""
    torch.manual_seed(0)
    x, w, b, keys = _random(images, 3, 2, 4), _random(3), _random(3), _random(images, 3, 5)

    def scores(x, w, b, keys):
        y = F.batch_norm(x, None if training else MEAN, None if training else VARIANCE, w, b, training)
        return y.flatten(2).transpose(1, 2) @ keys

    assert gradcheck(_fast(scores), (x, w, b, keys))
    assert gradgradcheck(_fast(scores), (x, w, b, keys))


def test_a_single_number_a_channel_is_refused_in_the_ordinary_words():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        _fast(nn.BatchNorm2d(3))(torch.randn(1, 3, 1, 1, requires_grad=True))


def test_parameters_accumulate_once_per_backward():
    calls = []
    layer = nn.Conv2d(3, 4, 3, dtype=torch.float64)
    layer.weight.register_post_accumulate_grad_hook(lambda parameter: calls.append(1))
    x = _random(2, 3, 5, 5)
    _explained_loss(_fast(layer), (x,)).backward()
    assert calls == [1]


def test_fused_attention_has_a_double_backward():
    torch.manual_seed(0)
    inputs = [_random(1, 2, 5, 4) for _ in range(3)]

    def composed(q, k, v):
        return (q @ k.mT / 2).softmax(-1) @ v

    ours, theirs = (
        torch.autograd.grad(_explained_loss(run, inputs), inputs)
        for run in (_fast(F.scaled_dot_product_attention), composed)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    with pytest.raises(RuntimeError, match="is not implemented"):
        torch.autograd.grad(_explained_loss(F.scaled_dot_product_attention, inputs), inputs)


@pytest.mark.parametrize("dim", [-1, 1])
def test_normalized_vectors_of_zeros_have_finite_second_derivatives(dim):
    torch.manual_seed(0)
    x = _random(3, 4, 5)
    ours, theirs = (
        torch.autograd.grad(_explained_loss(run, [x]), x)[0]
        for run in (_fast(lambda x: F.normalize(x, dim=dim)), lambda x: F.normalize(x, dim=dim))
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    zeros = torch.zeros(2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(_explained_loss(lambda x: F.normalize(x, dim=dim), [zeros]), zeros)[0].isnan().any()
    fast = torch.autograd.grad(_explained_loss(_fast(lambda x: F.normalize(x, dim=dim)), [zeros]), zeros)[0]
    assert torch.equal(fast, torch.zeros_like(fast))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 300.0, 2e4])
def test_vectors_in_half_precision_are_normalized_at_any_scale(dtype, scale):
    """The squares of float16 overflow at 256 and vanish at 1e-4."""
    torch.manual_seed(0)
    x = (torch.randn(4, 8) * scale).to(dtype).requires_grad_()
    with fast_double_backward():
        y = F.normalize(x)
    assert y.dtype == dtype
    exact = F.normalize(x.double())
    assert torch.allclose(y.double(), exact, atol=4 * torch.finfo(dtype).eps)
    weights = torch.randn(4, 8).to(dtype)
    found, expected = (torch.autograd.grad((value * weights.to(value.dtype)).sum(), x)[0] for value in (y, exact))
    assert torch.allclose(found.double() * scale, expected.double() * scale, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gelu_is_straight_far_from_zero(dtype):
    x = torch.tensor([-300.0, -20.0, 20.0, 300.0, 6e4], dtype=dtype, requires_grad=True)
    with fast_double_backward():
        y = F.gelu(x)
    with first_derivative():
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert torch.equal(torch.autograd.grad(slope.sum(), x)[0], torch.zeros_like(x))
