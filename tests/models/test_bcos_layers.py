"""B-cos layers against the formula in loops, finite differences and themselves by plain operations."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from hf_guidance.models import BcosConv2d, BcosLinear
from hf_guidance.models.bcos_resnet.patch_norm import box_spread, box_sum
from hf_guidance.second_order.convolution import Geometry
from hf_guidance.second_order.dynamic_weights import fixed_dynamic_weights

SETTINGS = {
    "1x1": {"kernel_size": 1},
    "1x1, stride 2": {"kernel_size": 1, "stride": 2},
    "1x1, padded": {"kernel_size": 1, "padding": 1},
    "3x3": {"kernel_size": 3, "padding": 1},
    "3x3, stride 2": {"kernel_size": 3, "padding": 1, "stride": 2},
    "uneven": {"kernel_size": (3, 2), "padding": (0, 1), "stride": (1, 2)},
    "dilated": {"kernel_size": 3, "padding": 2, "dilation": 2},
    "groups": {"kernel_size": 3, "padding": 1, "groups": 2},
    "wide groups": {"kernel_size": 1, "groups": 2},
    "b 1": {"kernel_size": 3, "b": 1.0},
    "b 1.5": {"kernel_size": 3, "padding": 1, "b": 1.5},
    "b 3, groups": {"kernel_size": 3, "padding": 1, "b": 3.0, "groups": 2},
    "max out": {"kernel_size": 3, "padding": 1, "max_out": 2},
    "b 1, max out": {"kernel_size": 1, "b": 1.0, "max_out": 3},
}
FUSED = [name for name, given in SETTINGS.items() if not {"b", "max_out"} & given.keys()]


def layer_of(name, inputs=4, outputs=6):
    torch.manual_seed(0)
    return BcosConv2d(inputs, outputs, **SETTINGS[name]).double()


def image(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_the_formula(layer, x):
    """Every output by itself: pad, cut out the patch, take the product and the cosine."""
    geometry = layer.geometry
    (height, width), (top, left) = layer.kernel_size, geometry.padding
    padded = torch.nn.functional.pad(x, (left, left, top, top))
    reach = [1 + d * (k - 1) for d, k in zip(geometry.dilation, layer.kernel_size, strict=True)]
    rows = (padded.shape[2] - reach[0]) // geometry.stride[0] + 1
    columns = (padded.shape[3] - reach[1]) // geometry.stride[1] + 1
    inputs, outputs = layer.in_channels // geometry.groups, layer.out_channels // geometry.groups
    y = torch.zeros(len(x), layer.out_channels, rows, columns, dtype=x.dtype)
    for n, o, i, j in torch.cartesian_prod(*map(torch.arange, y.shape)).tolist():
        group = o // outputs
        r, c = i * geometry.stride[0], j * geometry.stride[1]
        d = geometry.dilation
        patch = padded[n, group * inputs : (group + 1) * inputs]
        patch = patch[:, r : r + d[0] * height : d[0], c : c + d[1] * width : d[1]]
        length = (patch.square().sum() + 1e-6).sqrt()
        filters = layer.weight[o * layer.max_out : (o + 1) * layer.max_out]
        linear = max(((w / w.square().sum().sqrt()) * patch).sum() for w in filters)
        if layer.b == 1:
            y[n, o, i, j] = linear
        else:
            offset = 0 if layer.b == 2 else 1e-6
            y[n, o, i, j] = linear * ((linear / length).abs() + offset) ** (layer.b - 1)
    return y


@pytest.mark.parametrize("name", SETTINGS)
def test_against_the_formula(name):
    layer, x = layer_of(name), image(2, 4, 5, 6)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), by_the_formula(layer, x), rtol=1e-12, atol=1e-13)


def test_linear_against_the_formula():
    torch.manual_seed(0)
    layer, x = BcosLinear(4, 3, b=3.0, max_out=2).double(), image(2, 5, 4)
    unit = layer.weight / layer.weight.norm(dim=1, keepdim=True)
    linear = (x @ unit.T).unflatten(-1, (3, 2)).amax(-1)
    cosine = linear / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(layer(x), linear * cosine.square(), rtol=1e-9, atol=1e-12)
    square = BcosLinear(4, 3).double()
    convolution = BcosConv2d(4, 3, 1).double()
    with torch.no_grad():
        convolution.weight.copy_(square.weight[..., None, None])
    torch.testing.assert_close(square(x[0]), convolution(x[0][..., None, None])[..., 0, 0], rtol=1e-12, atol=1e-14)


def call(layer):
    return lambda x, weight: functional_call(layer, {"weight": weight}, (x,))


@pytest.mark.parametrize("name", SETTINGS)
def test_ordinary_derivatives(name):
    layer, x = layer_of(name), image(2, 4, 4, 5).requires_grad_()
    weight = layer.weight.detach().clone().requires_grad_()
    assert gradcheck(call(layer), (x, weight), fast_mode=True)
    assert gradgradcheck(call(layer), (x, weight), fast_mode=True)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("learns", [True, False])
def test_the_fixed_gradient_is_differentiated_in_full(name, learns):
    """By finite differences of the first derivative, which goes through lengths, cosines and filters."""
    layer, x = layer_of(name), image(2, 4, 4, 5).requires_grad_()
    weight = layer.weight.detach().clone().requires_grad_(learns)
    dy = torch.randn_like(layer(x)).requires_grad_()

    def fixed(dy, x, weight):
        y = call(layer)(x, weight)
        with fixed_dynamic_weights():
            (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
        return dx, y

    assert gradcheck(fixed, (dy, x, weight), fast_mode=True)


@pytest.mark.parametrize("name", SETTINGS)
def test_with_weights_fixed_the_gradient_is_the_dynamic_weight(name):
    """W(x) from the unfused formula with everything but the product detached; W(x) x is the output."""
    layer, x = layer_of(name), image(2, 4, 5, 6).requires_grad_()
    y = layer(x)
    u = torch.randn_like(y)
    with fixed_dynamic_weights():
        (dx,) = torch.autograd.grad(y, x, u, retain_graph=True)
    unit = layer.weight / layer.weight.flatten(1).norm(dim=1)[:, None, None, None]
    linear = layer.geometry.apply(x, unit)
    if layer.max_out > 1:
        linear = linear.unflatten(1, (-1, layer.max_out)).amax(2)
    factor = (y / linear).detach()
    (expected,) = torch.autograd.grad(linear * factor, x, u)
    torch.testing.assert_close(dx, expected, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close((dx * x).sum(), (y * u).sum(), rtol=1e-10, atol=1e-12)
    (ordinary,) = torch.autograd.grad(y, x, u)
    assert torch.allclose(ordinary, dx) == (layer.b == 1)


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("parts", ["both", "map only", "output only"])
@pytest.mark.parametrize("trained", ["all", "input", "weight"])
def test_fused_equals_plain(name, parts, trained):
    """Second-order gradients of the function written by hand and of ordinary operations."""
    layer = layer_of(name)
    u = None
    results = []
    for fused in (True, False):
        x, weight = image(2, 4, 5, 6).requires_grad_(), layer.weight.detach().clone()
        weight.requires_grad_(trained != "input")
        y = call(layer)(x, weight) if fused else layer.plain(x, weight)
        u = torch.randn_like(y) if u is None else u
        with fixed_dynamic_weights():
            (dx,) = torch.autograd.grad(y, x, u, create_graph=True)
        loss = torch.zeros((), dtype=torch.float64)
        if parts != "output only":
            loss = loss + (dx * x).sum(1).pow(3).sum()
        if parts != "map only":
            loss = loss + y.square().sum()
        wanted = [t for t, used in ((x, trained != "weight"), (weight, trained != "input")) if used]
        results.append([y, dx, *torch.autograd.grad(loss, wanted)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["3x3", "b 1.5", "max out"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_patches_of_zeros_have_finite_derivatives(name, dtype):
    layer, x = layer_of(name).to(dtype), torch.zeros(1, 4, 5, 6, dtype=dtype).requires_grad_()
    y = layer(x)
    assert not y.any()
    with fixed_dynamic_weights():
        (dx,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    gradients = torch.autograd.grad((dx * x).sum() + dx.sum() + y.sum(), [x, layer.weight])
    assert all(gradient.isfinite().all() and gradient.abs().max() < 1e6 for gradient in (dx, *gradients))


@pytest.mark.parametrize("name", ["3x3", "b 3, groups", "max out"])
def test_a_filter_of_zeros_puts_out_zeros_and_learns_nothing(name):
    layer, x = layer_of(name), image(1, 4, 5, 6).requires_grad_()
    with torch.no_grad():
        layer.weight[: layer.max_out] = 0
    y = layer(x)
    assert not y[:, 0].any()
    with fixed_dynamic_weights():
        (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    by_x, by_weight = torch.autograd.grad((dx * x).sum(1).square().sum() + y.sum(), [x, layer.weight])
    assert by_x.isfinite().all()
    assert by_weight.isfinite().all()
    assert not by_weight[: layer.max_out].any()
    assert by_weight[layer.max_out :].any()


def test_the_length_of_filters_does_not_matter():
    layer, x = layer_of("3x3"), image(2, 4, 5, 6)
    before = layer(x)
    (gradient,) = torch.autograd.grad(before.square().sum(), layer.weight)
    # So the gradient is orthogonal to the filters.
    torch.testing.assert_close((gradient * layer.weight).sum((1, 2, 3)), torch.zeros(6).double(), atol=1e-10, rtol=0)
    with torch.no_grad():
        layer.weight.mul_(7.0)
    torch.testing.assert_close(layer(x), before)


def test_under_autocast_the_layer_runs_in_half_precision():
    layer, x = layer_of("3x3").float(), image(2, 4, 5, 6).float().requires_grad_()
    exact = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert (y - exact).norm() < 0.02 * exact.norm()
    with fixed_dynamic_weights():
        (dx,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (dx.float() * x).sum(1).square().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    assert layer.weight.grad.isfinite().all()


def test_gradient_checkpointing_recomputes_the_same():
    layer, x = layer_of("3x3"), image(2, 4, 5, 6).requires_grad_()
    results = []
    for checkpointed in (True, False):
        y = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False) if checkpointed else layer(x)
        with fixed_dynamic_weights():
            (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        results.append(torch.autograd.grad((dx * x).sum(1).square().sum() + y.sum(), [x, layer.weight]))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_third_derivative_is_refused():
    layer, x = layer_of("3x3"), image(1, 4, 5, 6).requires_grad_()
    with fixed_dynamic_weights():
        (dx,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"third derivative.*another b"):
        torch.autograd.grad(dx.square().sum(), x, create_graph=True)


def test_box_spread_is_the_transpose_of_box_sum():
    for kernel, settings in (((1, 1), (2, 0, 1)), ((3, 2), (2, 1, 1)), ((3, 3), (1, 2, 2))):
        stride, padding, dilation = ((value, value) for value in settings)
        geometry = Geometry(stride, padding, dilation, 1)
        maps = image(2, 3, 7, 6)
        summed = box_sum(maps, kernel, geometry)
        values = torch.randn_like(summed)
        torch.testing.assert_close((summed * values).sum(), (maps * box_spread(values, maps, kernel, geometry)).sum())


@pytest.mark.parametrize("layer", [BcosConv2d, BcosLinear])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"b": 0.5}, r"b=0.5\) must be at least 1"),
        ({"b": float("nan")}, r"b=nan\) must be at least 1"),
        ({"max_out": 0}, r"max_out=0\) must be at least 1"),
    ],
)
def test_bad_settings(layer, given, message):
    with pytest.raises(ValueError, match=layer.__name__ + ".*" + message):
        layer(4, 4, **given)


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"BcosConv2d\(4, 6, groups=4\): groups must divide"):
        BcosConv2d(4, 6, groups=4)
