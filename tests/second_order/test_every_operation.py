"""Every module of torch.nn and every layer of timm can be differentiated twice inside the substitution, or is named here."""

from __future__ import annotations

import inspect
from functools import partial

import pytest
import timm.layers
import torch
from every_model.in_double import InDouble
from packaging.version import Version
from timm.layers.create_act import _ACT_LAYER_DEFAULT, _ACT_LAYER_ME
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from hf_guidance.second_order import fast_double_backward
from hf_guidance.second_order.missing import without_double_backward

MAP, TOKENS, ROW = (2, 4, 6, 6), (2, 5, 6), (2, 6)
# Arguments of modules that have some; shapes of inputs where it is not that of the last letters of the name.
ARGUMENTS = {
    **{f"Conv{n}d": (4, 4, 3) for n in (1, 2, 3)}, **{f"ConvTranspose{n}d": (4, 4, 3) for n in (1, 2, 3)},
    **{f"{kind}{n}d": (4,) for kind in ("BatchNorm", "InstanceNorm") for n in (1, 2, 3)},
    **{f"Adaptive{kind}Pool{n}d": (2,) for kind in ("Avg", "Max") for n in (1, 2, 3)},
    **{f"{kind}Pool{n}d": (2,) for kind in ("Avg", "Max") for n in (1, 2, 3)},
    **{f"{kind}Pad{n}d": (1,) for kind in ("Circular", "Reflection", "Replication", "Zero") for n in (1, 2, 3)},
    **{f"ConstantPad{n}d": (1, 0.5) for n in (1, 2, 3)}, **{f"LPPool{n}d": (2, 2) for n in (1, 2, 3)},
    **{f"FractionalMaxPool{n}d": {"kernel_size": 2, "output_size": 3} for n in (2, 3)},
    "Linear": (6, 3), "GroupNorm": (2, 4), "LayerNorm": (6,), "RMSNorm": (6,), "LocalResponseNorm": (2,),
    "Upsample": {"scale_factor": 2}, "UpsamplingBilinear2d": {"scale_factor": 2},
    "UpsamplingNearest2d": {"scale_factor": 2}, "PixelShuffle": (2,), "PixelUnshuffle": (2,), "ChannelShuffle": (2,),
    "Fold": ((4, 4), (2, 2)), "Unfold": ((2, 2),), "Threshold": (0.1, 0.5), "Unflatten": (1, (2, 2)),
    "Softmax": (1,), "LogSoftmax": (1,), "Softmin": (1,), "LSTM": (6, 4), "GRU": (6, 4), "RNN": (6, 4),
    "LSTMCell": (6, 4), "GRUCell": (6, 4), "RNNCell": (6, 4),
    "TransformerEncoderLayer": {"d_model": 6, "nhead": 2, "dim_feedforward": 4, "dropout": 0.0, "batch_first": True},
    "Bilinear": (6, 6, 3),
}  # fmt: skip
SHAPES = {
    **dict.fromkeys(("LSTM", "GRU", "RNN", "TransformerEncoderLayer"), TOKENS), "Fold": (2, 16, 9),
    **dict.fromkeys(("LSTMCell", "GRUCell", "RNNCell", "Bilinear"), ROW),
}  # fmt: skip
# What is no operation on activations, or is made of the others.
LEFT = {
    "Container", "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential", "DataParallel",
    "Embedding", "EmbeddingBag", "RNNBase", "RNNCellBase", "SyncBatchNorm", "Transformer", "TransformerDecoder",
    "TransformerDecoderLayer", "TransformerEncoder", "AdaptiveLogSoftmaxWithLoss", "CosineSimilarity", "PairwiseDistance",
    "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "MultiheadAttention", "CrossMapLRN2d",
}  # fmt: skip
RANDOM = ("RReLU", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
OF_TORCH = [
    name
    for name in dir(nn)
    if inspect.isclass(kind := getattr(nn, name)) and issubclass(kind, nn.Module)
    and not name.startswith("Lazy") and "Loss" not in name and name not in LEFT
]  # fmt: skip


def shape_of(name):
    places = {"1d": (5,), "3d": (5, 5, 5)}.get(name[-2:], (6, 6))
    return SHAPES.get(name, (2, 4, *places))


def built(name):
    torch.manual_seed(0)
    given = ARGUMENTS.get(name, ())
    module = getattr(nn, name)(**given) if isinstance(given, dict) else getattr(nn, name)(*given)
    return module.double().train(name not in RANDOM)


def first_output(module, *inputs):
    torch.manual_seed(2)  # of modules that draw
    with InDouble(), fast_double_backward():
        output = module(*inputs)
    return output[0] if isinstance(output, tuple) else output


def agrees(module, *shapes):
    """Whether the first and the second derivative are those of finite differences, in random directions."""
    torch.manual_seed(1)
    inputs = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    run = partial(first_output, module)
    how = {"fast_mode": True, "atol": 1e-5, "rtol": 1e-4, "nondet_tol": 1e-12}
    return gradcheck(run, inputs, **how) and gradgradcheck(run, inputs, **how)


@pytest.mark.parametrize("name", OF_TORCH)
@pytest.mark.filterwarnings("ignore")
def test_modules_of_torch(name):
    assert agrees(built(name), *[shape_of(name)] * (2 if name == "Bilinear" else 1))


GRID = torch.linspace(-0.83, 0.77, 36).double().reshape(2, 3, 3, 2)
FUNCTIONS = {
    **{f"interpolate {mode}": partial(F.interpolate, scale_factor=1.7, mode=mode)
       for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")},
    **{f"antialiased {mode}": partial(F.interpolate, size=(4, 4), mode=mode, antialias=True)
       for mode in ("bilinear", "bicubic")},
    **{f"grid_sample {mode}, {pad}": partial(F.grid_sample, grid=GRID, mode=mode, padding_mode=pad, align_corners=False)
       for mode in ("bilinear", "bicubic") for pad in ("zeros", "border", "reflection")},
    "grid_sample at learned places": lambda x: F.grid_sample(x, x[:, :2, :3, :3].movedim(1, -1).tanh(), align_corners=False),
    **{f"{name} in place": partial(lambda operation, x: operation(x * 1, inplace=True), getattr(F, name))
       for name in ("hardsigmoid", "hardswish", "hardtanh", "relu", "relu6", "silu", "mish", "elu", "celu", "selu",
                    "leaky_relu")},
    "kernel of hardsigmoid": lambda x: torch._C._nn.hardsigmoid(x),
    "kernel of hardsigmoid in place": lambda x: torch._C._nn.hardsigmoid_(x * 1),
    "gelu, tanh": partial(F.gelu, approximate="tanh"), "glu": F.glu, "prelu": lambda x: F.prelu(x, x[0, :, 0, 0].sigmoid()),
    "normalize": F.normalize, "cdist": lambda x: torch.cdist(x.flatten(2), 1 + x.flatten(2)), "norm": lambda x: x.norm(dim=1),
    "std": lambda x: x.std((2, 3)), "weight norm": lambda x: torch._weight_norm(x[0], x[0, :, :1, :1] * 1, 0),
    "logsumexp": lambda x: x.logsumexp(1), "cumsum": lambda x: x.cumsum(1), "topk": lambda x: x.topk(2, 1)[0],
    "fft": lambda x: torch.fft.rfft2(x).abs(), "einsum": lambda x: torch.einsum("bchw,bdhw->bcd", x, x),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x), "roll": lambda x: x.roll(1, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    try:
        assert agrees(FUNCTIONS[name], MAP)
    except RuntimeError as error:  # older ones lack some, and guided steps name them
        missing = without_double_backward(error)
        if missing is None or Version(torch.__version__) >= Version("2.15"):
            raise
        pytest.skip(f"torch {torch.__version__} has no double backward of {missing}")


@pytest.mark.parametrize("name", sorted({*_ACT_LAYER_DEFAULT, *_ACT_LAYER_ME}))
@pytest.mark.parametrize("kind", ["plain", "memory efficient"])
def test_activations_of_timm(name, kind):
    found = (_ACT_LAYER_DEFAULT if kind == "plain" else _ACT_LAYER_ME).get(name)
    if found is not None:
        torch.manual_seed(0)
        assert agrees(found().double(), MAP)


# Layers of timm whose arguments are not just numbers of channels; None where one is no operation on activations alone, or is
# a container, and InplaceAbn where its package is missing.
LAYERS = {
    "AttentionPool2d": ({"in_features": 8, "feat_size": 6, "head_dim": 4}, (2, 8, 6, 6)),
    "RotAttentionPool2d": ({"in_features": 8, "ref_feat_size": 6, "head_dim": 8}, (2, 8, 6, 6)),
    "DepthToSpace": ({"block_size": 2}, (2, 8, 6, 6)), "SpaceToDepth": ({"block_size": 4}, (2, 4, 8, 8)),
    "GatherExcite": ({"channels": 8, "extent": 2, "use_mlp": False}, (2, 8, 6, 6)),
    "PatchEmbed": ({"img_size": 6, "patch_size": 2, "embed_dim": 4}, (2, 3, 6, 6)),
    "PatchEmbedWithSize": ({"img_size": 6, "patch_size": 2, "embed_dim": 4}, (2, 3, 6, 6)),
    **dict.fromkeys(("CondConv2d", "HybridEmbed", "HybridEmbedWithSize", "InplaceAbn", "PatchEmbedInterpolator", "RelPosBias",
                     "RelPosBiasTf", "RelPosMlp", "TestTimePoolHead")),
}  # fmt: skip
OF_TIMM = [
    name
    for name in dir(timm.layers)
    if inspect.isclass(kind := getattr(timm.layers, name)) and issubclass(kind, nn.Module)
    and "Rotary" not in name and name != "FourierEmbed" and LAYERS.get(name, True)
]  # fmt: skip


def layer_of_timm(name):
    """The layer in evaluation mode, and a shape that it takes: the first that it takes, of few arguments and few shapes."""
    kind = getattr(timm.layers, name)
    if name in LAYERS:
        arguments, shape = LAYERS[name]
        return kind(**arguments).double().eval(), shape
    for arguments in ((), (8,), (8, 8), (8, 8, 3), (8, 4), (8, 2)):
        for shape in ((2, 8, 6, 6), (2, 16, 8), (2, 6, 6, 8)):
            torch.manual_seed(0)
            try:
                layer = kind(*arguments).double().eval()
                output = layer(torch.randn(*shape, dtype=torch.float64, requires_grad=True))
            except Exception:
                continue
            if isinstance(output, tuple) or output.requires_grad:
                return layer, shape
    pytest.fail(f"no arguments found for timm.layers.{name}; add some to LAYERS, or None with the reason")


@pytest.mark.parametrize("name", OF_TIMM)
def test_layers_of_timm(name):
    layer, shape = layer_of_timm(name)
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter, 0.2, 0.7)  # none is zero, so that nothing is hidden
    assert agrees(layer, shape)
