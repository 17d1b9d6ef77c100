"""B-cos layers and nets against numbers obtained by running the authors' code."""

import ast

import numpy as np
import pytest
import torch
from tiny_bcos import golden_batch, golden_net

from hf_guidance.attributions import BcosContribution
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance, Term
from hf_guidance.models import BcosConv2d, BcosLinear, UncenteredBatchNorm2d
from hf_guidance.objectives import Energy
from hf_guidance.second_order.dynamic_weights import fixed_dynamic_weights

CONVOLUTION, LINEAR, NORM, NET = (
    f"model_guidance/bcos_{name}" for name in ("conv2d", "linear", "batchnorm_uncentered", "mini_resnet")
)
LAYERS = {"Input": "input", "Mid1": "mid1", "Mid2": "mid2", "Mid3": "mid3", "Final": "final"}
# In training the released code's walk through the modules pools before it norms, but for the layer Input.
CASES = [("eval", name) for name in LAYERS] + [("train", "Input")]
PARAMETERS = {
    "0.fc.linear.weight": "classifier.weight",
    "0.layer4.0.conv2.linear.weight": "stages.3.0.layers.1.convolution.weight",
    "0.bn1.weight": "stem.0.norm.weight",
    "0.layer1.0.bn3.weight": "stages.0.0.layers.2.norm.weight",
}


def tensor(array):
    return torch.from_numpy(np.asarray(array, dtype=np.float64))


def layer_with(layer, weight):
    layer = layer.double()
    with torch.no_grad():
        layer.weight.copy_(tensor(weight))
    return layer


@pytest.mark.parametrize("case", range(8))
def test_convolution(golden, agree, case):
    data = golden(CONVOLUTION)
    settings = dict(ast.literal_eval(str(data[f"c{case}_config"])))
    layer = layer_with(BcosConv2d(**settings), data[f"c{case}_weight"])
    x, u, v = (tensor(data[f"c{case}_{name}"]) for name in ("x", "u", "v"))
    y = layer(x.requires_grad_())
    agree(f"{CONVOLUTION} (value)", y, data[f"c{case}_y"])
    plain = torch.autograd.grad(y, (x, layer.weight), u, retain_graph=True)
    agree(f"{CONVOLUTION} (gradient)", plain[0], data[f"c{case}_grad_x_plain"])
    agree(f"{CONVOLUTION} (gradient)", plain[1], data[f"c{case}_grad_w_plain"])
    with fixed_dynamic_weights():
        (fixed,) = torch.autograd.grad(y, x, u, create_graph=True)
    agree(f"{CONVOLUTION} (weights fixed)", fixed, data[f"c{case}_grad_x_explanation"])
    contribution = (fixed * x).sum(1)
    agree(f"{CONVOLUTION} (contribution)", contribution, data[f"c{case}_contribution_map"])
    second = torch.autograd.grad((contribution * v).sum(), (x, layer.weight))
    agree(f"{CONVOLUTION} (second order)", second[0], data[f"c{case}_second_order_grad_x"])
    agree(f"{CONVOLUTION} (second order)", second[1], data[f"c{case}_second_order_grad_w"])


@pytest.mark.parametrize("case", range(3))
def test_linear(golden, agree, case):
    data = golden(LINEAR)
    weight, x, u = (tensor(data[f"c{case}_{name}"]) for name in ("weight", "x", "u"))
    max_out = int(data[f"c{case}_max_out"])
    layer = layer_with(BcosLinear(weight.shape[1], len(weight) // max_out, float(data[f"c{case}_b"]), max_out), weight)
    y = layer(x.requires_grad_())
    agree(f"{LINEAR} (value)", y, data[f"c{case}_y"])
    with fixed_dynamic_weights():
        (fixed,) = torch.autograd.grad(y, x, u)
    agree(f"{LINEAR} (weights fixed)", fixed, data[f"c{case}_grad_x_explanation"])


def test_uncentered_batch_norm(golden, agree):
    data = golden(NORM)
    layer = UncenteredBatchNorm2d(5, float(data["eps"]), float(data["momentum"])).double()
    with torch.no_grad():
        layer.weight.copy_(tensor(data["weight"]))
        layer.running_var.copy_(tensor(data["running_var_before"]))
        layer.running_mean.copy_(tensor(data["running_mean_before"]))
    for mode in ("eval", "train"):
        layer.train(mode == "train")
        x, u = tensor(data[f"{mode}_x"]).requires_grad_(), tensor(data[f"{mode}_u"])
        y = layer(x)
        agree(f"{NORM} (value)", y, data[f"{mode}_y"])
        (plain,) = torch.autograd.grad(y, x, u, retain_graph=True)
        agree(f"{NORM} (gradient)", plain, data[f"{mode}_grad_x_plain"])
        with fixed_dynamic_weights():
            (fixed,) = torch.autograd.grad(y, x, u)
        agree(f"{NORM} (weights fixed)", fixed, data[f"{mode}_grad_x_explanation"])
    agree(f"{NORM} (running statistics)", layer.running_var, data["running_var_after_train"])
    agree(f"{NORM} (running statistics)", layer.running_mean, data["running_mean_after_train"])


@pytest.mark.parametrize(("mode", "name"), CASES)
def test_guidance_of_the_net(golden, agree, mode, name):
    """Map, losses and parameter gradients as a step of GuidedTrainer makes them."""
    data = golden(NET)
    model = golden_net(data).train(mode == "train")
    attribution = BcosContribution(LAYERS[name])
    objective = Energy(attribution)
    weight = float(data["lambda"])
    guidance = Guidance(energy=Term(objective, weight, reduction="sum"))
    forward = Forward(model, family_of(model), golden_batch(data), guidance.needs())
    found = f"{mode}_{name}"
    agree(f"{NET} (logits)", forward.logits(), data[f"{found}_logits"])
    agree(f"{NET} (maps)", forward.attribution(attribution), data[f"{found}_raw_attr"])
    agree(f"{NET} (losses)", objective(forward), data[f"{found}_energy_per_image"])
    total, logs = guidance(forward)
    agree(f"{NET} (losses)", logs["loss/task"], data[f"{found}_class_loss"])
    for part, value in (("gradloc", objective(forward).sum()), ("gradtotal", total)):
        ours = [model.get_parameter(path) for path in PARAMETERS.values()]
        gradients = torch.autograd.grad(value, ours, retain_graph=True)
        for theirs, gradient in zip(PARAMETERS, gradients, strict=True):
            expected = data[f"{found}_{part}__{theirs.replace('.', '__')}"]
            agree(f"{NET} ({part})", gradient[: len(expected)], expected)
    if mode == "train":
        agree(f"{NET} (running statistics)", model.stem[0].norm.running_var, data[f"{found}_bn1_running_var_after"])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_plain_forward_pass(golden, agree, mode):
    data = golden(NET)
    model = golden_net(data).train(mode == "train")
    logits = model(golden_batch(data)["pixel_values"]).logits
    agree(f"{NET} (logits)", logits, data[f"{mode}_forward_logits_model_call"])


def test_in_training_the_released_code_pools_before_it_norms(golden, agree):
    """What it differs by: with that order our net has the numbers of its layers other than Input."""
    data = golden(NET)
    model = golden_net(data).train()
    pixels = golden_batch(data)["pixel_values"]
    ours = model(pixels).logits
    assert (ours - tensor(data["train_Final_logits"])).abs().max() > 1e-3
    stem, pool = model.stem
    model.stem = torch.nn.Sequential(stem.convolution, pool, stem.norm)
    agree(f"{NET} (their order)", model(pixels).logits, data["train_Final_logits"])
