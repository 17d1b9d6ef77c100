"""Maps against captum's, in float64 on tiny models of every family."""

import pytest
import torch
from captum.attr import InputXGradient as CaptumInputXGradient
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import LayerGradCam, LayerGradientXActivation, LayerIntegratedGradients
from captum.attr import Saliency as CaptumSaliency
from tiny import BUILDERS, SIZE, explain, make_batch, relative_error, tiny_family, tiny_model

from hf_guidance.attributions import GradCAM, Gradient, InputXGradient, IntegratedGradients

EXACT = 1e-10
WITH_MAPS = ("resnet", "convnext", "convnextv2", "timm_resnet", "timm_convnext")


def logits_of(name):
    return lambda pixel_values: tiny_model(name)(pixel_values=pixel_values)["logits"]


def ours(name, method, **batch):
    forward = explain(tiny_model(name), tiny_family(name), make_batch() | batch, method)
    return forward.attribution(method).detach()


def spatial(name, layer, activation):
    family, model = tiny_family(name), tiny_model(name)
    return family.of_layer(family.layers[layer], model).spatial(activation, SIZE)


def layer_module(name, layer):
    return tiny_model(name).get_submodule(tiny_family(name).layers[layer])


@pytest.mark.parametrize("name", BUILDERS)
def test_input_methods(name):
    batch = make_batch()
    pixels, target = batch["pixel_values"].clone().requires_grad_(), batch["target"]
    theirs = CaptumInputXGradient(logits_of(name)).attribute(pixels, target=target).sum(1)
    assert relative_error(ours(name, InputXGradient()), theirs) < EXACT
    theirs = CaptumSaliency(logits_of(name)).attribute(pixels, target=target, abs=False)
    assert relative_error(ours(name, Gradient(channels="keep")), theirs) < EXACT
    assert relative_error(ours(name, Gradient()), theirs.sum(1)) < EXACT
    assert relative_error(ours(name, Gradient(channels="abs")), theirs.abs().sum(1)) < EXACT
    assert relative_error(ours(name, Gradient(channels="square")), theirs.square().sum(1)) < EXACT
    theirs = CaptumIntegratedGradients(logits_of(name)).attribute(
        pixels, target=target, n_steps=4, method="riemann_middle"
    )  # a power of two: captum keeps its points in float32
    assert relative_error(ours(name, IntegratedGradients(steps=4)), theirs.sum(1)) < EXACT


@pytest.mark.parametrize("layer", ["mid1", "mid3", "final"])
@pytest.mark.parametrize("name", BUILDERS)
def test_input_x_gradient_at_layers(name, layer):
    batch = make_batch()
    module = layer_module(name, layer)
    theirs = LayerGradientXActivation(logits_of(name), module).attribute(batch["pixel_values"], target=batch["target"])
    theirs = spatial(name, layer, theirs).sum(1)
    assert relative_error(ours(name, InputXGradient(layer=layer)), theirs.detach()) < EXACT


@pytest.mark.parametrize("layer", ["mid2", "final"])
@pytest.mark.parametrize("name", WITH_MAPS)
def test_grad_cam(name, layer):
    batch = make_batch()
    cam = LayerGradCam(logits_of(name), layer_module(name, layer))
    theirs = cam.attribute(batch["pixel_values"], target=batch["target"], relu_attributions=True)[:, 0]
    assert relative_error(ours(name, GradCAM(layer=layer)), theirs.detach()) < EXACT
    theirs = cam.attribute(batch["pixel_values"], target=batch["target"])[:, 0]
    assert relative_error(ours(name, GradCAM(layer=layer, relu=False)), theirs.detach()) < EXACT


@pytest.mark.parametrize("name", ["resnet", "convnextv2", "timm_convnext"])
@pytest.mark.parametrize("layer", ["mid2", "final"])
def test_integrated_gradients_at_layers(name, layer):
    batch = make_batch()
    module = layer_module(name, layer)
    theirs = LayerIntegratedGradients(logits_of(name), module).attribute(
        batch["pixel_values"], baselines=None, target=batch["target"], n_steps=4, method="riemann_middle"
    )
    # captum's baseline at a layer is the layer's output for a zero image; ours the zero activation.
    at_zero = []
    handle = module.register_forward_hook(lambda m, a, output: at_zero.append(output))
    logits_of(name)(torch.zeros_like(batch["pixel_values"]))
    handle.remove()
    baseline = at_zero[0].detach()
    method = IntegratedGradients(layer=layer, steps=4, baseline=lambda features, importance: baseline)
    assert relative_error(ours(name, method), spatial(name, layer, theirs).sum(1).detach()) < EXACT
