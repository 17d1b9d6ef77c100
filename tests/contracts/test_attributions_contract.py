"""What every attribution method promises, at every symbolic layer of every family. New ones are covered on arrival."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch
from tiny import (
    BUILDERS,
    LAYERS,
    SMOOTH_FAMILY,
    explain,
    make_batch,
    parameter_gradients,
    relative_error,
    smooth_net,
    tiny_family,
    tiny_model,
)

from hf_guidance import attributions
from hf_guidance.attributions import Attribution, InputXGradient, Target
from hf_guidance.attributions.perturbation import Perturbation
from hf_guidance.forward import recording
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import Energy

NAMED = [getattr(attributions, name) for name in attributions.__all__]
EVERY = [cls for cls in NAMED if issubclass(cls, Attribution) and cls is not Attribution]
# On the pixels of an image a copy a place is too many, and images have no attention over boxes: see test_boxes_contract.py.
METHODS = [cls for cls in EVERY if not issubclass(cls, Perturbation) and cls.__name__ != "AttentionWeights"]
RANDOM = ("ExpectedGradients",)
STEADY = [cls for cls in METHODS if cls.__name__ not in RANDOM]
GRID = {
    "resnet": [(8, 16), (4, 8), (2, 4), (1, 2)], "timm_resnet": [(8, 16), (4, 8), (2, 4), (1, 2)],
    "convnext": [(8, 16), (4, 8), (2, 4), (1, 2)], "convnextv2": [(8, 16), (4, 8), (2, 4), (1, 2)],
    "timm_convnext": [(8, 16), (4, 8), (2, 4), (1, 2)],
    "xdnn_resnet": [(8, 16), (4, 8), (2, 4), (1, 2)], "bcos_resnet": [(8, 16), (4, 8), (2, 4), (1, 2)],
    "vit": [(4, 8)] * 4, "deit": [(4, 8)] * 4, "timm_vit": [(4, 8)] * 4,
    "swin": [(16, 32), (8, 16), (4, 8), (2, 4)], "timm_swin": [(16, 32), (8, 16), (4, 8), (2, 4)],
}  # fmt: skip


def quick(cls, layer):
    """The method with its cheapest options."""
    fields = {field.name for field in dataclasses.fields(cls)}
    cheap = {name: 2 for name in ("steps", "samples") if name in fields}
    return cls(layer=layer, **cheap)


def unsaturated(cls, layer):
    """The method without its ReLU, so that a tiny random map is not zero by chance, and without sums that vanish: at
    ConvNeXt's "final" the gradient sums to zero over channels, because a LayerNorm follows the mean."""
    differing = {"relu": False, "channels": "square"}
    fields = {field.name for field in dataclasses.fields(cls)}
    return dataclasses.replace(quick(cls, layer), **{n: v for n, v in differing.items() if n in fields})


def test_all_methods_are_found():
    assert len(METHODS) >= 5
    assert len(EVERY) >= 10
    assert all(issubclass(cls, Attribution | Target) for cls in NAMED)


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", BUILDERS)
def test_maps(name, layer, cls):
    """Shape, finite, not zero for any row, differentiable in the parameters; the size says that nothing cancels."""
    model, family, batch = tiny_model(name), tiny_family(name), make_batch()
    method = unsaturated(cls, layer)
    forward = explain(model, family, batch, method, InputXGradient(layer))
    maps = forward.attribution(method)
    grid = (32, 64) if layer == "input" else GRID[name][LAYERS.index(layer) - 1]
    assert maps.shape == (3, *grid)
    assert torch.isfinite(maps).all()
    assert maps.flatten(1).any(1).all()
    weights = torch.randn(maps.shape, dtype=maps.dtype, generator=torch.Generator().manual_seed(0))
    gradients = parameter_gradients((maps * weights).sum(), model)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert max(gradient.abs().max().item() for gradient in gradients) > 1e-8
    activation, gradient = forward.activation(layer), forward.gradient(layer, method.target)
    if cls.__name__ != "Gradient":
        assert maps.abs().sum() > 1e-3 * (activation * gradient).abs().sum()


@pytest.mark.parametrize("cls", STEADY)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", ["resnet", "convnext", "vit", "swin", "timm_vit"])
def test_permuted_images_give_permuted_maps(name, layer, cls):
    model, family, batch = tiny_model(name), tiny_family(name), make_batch()
    order = torch.tensor([2, 0, 1])
    method = unsaturated(cls, layer)
    maps = explain(model, family, batch, method).attribution(method)
    permuted = {column: value[order] for column, value in batch.items()}
    again = explain(model, family, permuted, method).attribution(method)
    assert relative_error(again, maps[order].detach()) < 1e-9


@pytest.mark.parametrize("cls", STEADY)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", ["resnet", "convnextv2", "deit", "timm_swin"])
def test_without_gradients_the_maps_are_the_same_and_hold_no_graph(name, layer, cls):
    model, family, batch = tiny_model(name), tiny_family(name), make_batch()
    method = unsaturated(cls, layer)
    training = explain(model, family, batch, method).attribution(method)
    assert training.requires_grad
    with torch.no_grad():
        forward = explain(model, family, batch, method)
        maps = forward.attribution(method)
        assert torch.is_grad_enabled() is False
    assert not maps.requires_grad
    assert relative_error(maps, training.detach()) < 1e-10


@pytest.mark.parametrize("cls", STEADY)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", ["resnet", "vit", "swin"])
def test_one_image_and_several_classes_an_image(name, layer, cls):
    """Rows equal the maps of each (image, class) alone."""
    model, family, batch = tiny_model(name), tiny_family(name), make_batch()
    row, slot, target = [1, 2, 0, 1], [0, 0, 0, 1], torch.tensor([2, 0, 1, 1])
    method = unsaturated(cls, layer)
    maps = explain(model, family, batch | {"row": row, "slot": slot, "target": target}, method).attribution(method)
    for index, image in enumerate(row):
        alone = {"pixel_values": batch["pixel_values"][image : image + 1], "target": target[index : index + 1]}
        assert relative_error(maps[index : index + 1], explain(model, family, alone, method).attribution(method)) < 1e-9


@pytest.mark.parametrize("cls", STEADY)
@pytest.mark.parametrize("layer", ["input", "mid1", "final"])
def test_second_derivatives(cls, layer, monkeypatch):
    """gradcheck of the map (itself a first derivative) in the weights of a smooth model, and gradgradcheck once more.

    The latter takes a third derivative, which exists only with autograd's own double backward.
    """
    model, batch = smooth_net(), make_batch(images=2, size=(4, 5), channels=2)
    method = unsaturated(cls, layer)

    def maps(weight, head):
        for module, value in ((model.conv1, weight), (model.fc, head)):
            module._parameters.pop("weight", None)
            module.__dict__["weight"] = value
        return explain(model, SMOOTH_FAMILY, batch, method).attribution(method).sum(0)

    inputs = [p.detach().clone().requires_grad_() for p in (model.conv1.weight, model.fc.weight)]
    assert torch.autograd.gradcheck(maps, inputs, fast_mode=True)
    monkeypatch.setattr(recording, "fast_double_backward", lambda *_, **__: nullcontext())
    assert torch.autograd.gradgradcheck(maps, inputs, fast_mode=True)


@pytest.mark.parametrize("cls", METHODS)
def test_round_trip(cls):
    guidance = Guidance(term=Term(Energy(quick(cls, "final")), weight=0.5))
    again = Guidance.from_dict(guidance.to_dict())
    assert again == guidance
    assert again["term"].objective.attribution == quick(cls, "final")


@pytest.mark.parametrize("cls", METHODS)
def test_equal_methods_are_computed_once(cls, monkeypatch):
    calls = []
    original = cls.__call__
    monkeypatch.setattr(cls, "__call__", lambda self, forward: calls.append(self) or original(self, forward))
    forward = explain(tiny_model("resnet"), tiny_family("resnet"), make_batch(), quick(cls, "final"))
    assert forward.attribution(quick(cls, "final")) is forward.attribution(quick(cls, "final"))
    assert len(calls) == 1
