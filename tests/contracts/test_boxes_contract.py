"""What every attribution method promises on region features. New ones are covered on arrival."""

import dataclasses

import pytest
import torch
from tiny import explain, parameter_gradients, relative_error
from toy_vqa import OBJECTS, REGION_BUILDERS, ToyVQA, region_batch, region_family, region_model

from hf_guidance import attributions
from hf_guidance.attributions import AttentionWeights, Attribution, GradCAM
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import Alignment

NAMED = [getattr(attributions, name) for name in attributions.__all__]
METHODS = [cls for cls in NAMED if issubclass(cls, Attribution) and cls is not Attribution]
RANDOM = ("ExpectedGradients", "KernelSHAP", "AverageEffect")


def quick(cls):
    """The method with cheap options; GradCAM at the features without its ReLU, which may cut everything."""
    options = {"steps": 2, "samples": 7, "relu": False, "channels": "square", "layer": "input"}
    if cls is AttentionWeights:
        options["layer"] = "attention"
    return cls(**{f.name: options[f.name] for f in dataclasses.fields(cls) if f.name in options})


def maps_of(name, method, batch, **options):
    torch.manual_seed(5)  # the same draws in every call
    return explain(region_model(name), region_family(name), batch, method, **options).attribution(method)


@pytest.fixture(autouse=True, scope="module")
def _built():
    for name in REGION_BUILDERS:
        region_model(name)


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("name", REGION_BUILDERS)
def test_maps(name, cls):
    """Shape, finite, not zero for any row, and differentiable in the parameters."""
    maps = maps_of(name, quick(cls), region_batch())
    assert maps.shape == (3, OBJECTS)
    assert torch.isfinite(maps).all()
    assert maps.any(1).all()
    weights = torch.randn(maps.shape, dtype=maps.dtype, generator=torch.Generator().manual_seed(0))
    gradients = parameter_gradients((maps * weights).sum(), region_model(name))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert max(gradient.abs().max().item() for gradient in gradients) > 1e-6


@pytest.mark.parametrize("cls", [cls for cls in METHODS if cls.__name__ != "ExpectedGradients"])
@pytest.mark.parametrize("name", REGION_BUILDERS)
def test_permuted_images_give_permuted_maps(name, cls):
    """Coalitions are shared by the batch, so they are the same in any order."""
    batch, order = region_batch(), torch.tensor([2, 0, 1])
    maps = maps_of(name, quick(cls), batch)
    permuted = {column: value[order] for column, value in batch.items()}
    assert relative_error(maps_of(name, quick(cls), permuted), maps[order].detach()) < 1e-10


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("name", REGION_BUILDERS)
def test_without_gradients_the_maps_are_the_same_and_hold_no_graph(name, cls):
    training = maps_of(name, quick(cls), region_batch())
    with torch.no_grad():
        maps = maps_of(name, quick(cls), region_batch())
    assert training.requires_grad
    assert not maps.requires_grad
    assert relative_error(maps, training.detach()) < 1e-11


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("name", REGION_BUILDERS)
def test_several_answers_an_image(name, cls):
    """Rows equal the maps of each (image, answer) alone."""
    method, batch = quick(cls), region_batch()
    row, slot, target = [1, 2, 0, 1], [0, 0, 0, 1], torch.tensor([2, 0, 1, 1])
    rows = {"row": row, "slot": slot, "target": target, "importance": batch["importance"][row]}
    maps = maps_of(name, method, batch | rows)
    for answer in (0, 1, 2):
        plain = maps_of(name, method, batch | {"target": torch.full((3,), answer)}).detach()
        for index, image in enumerate(row):
            if target[index] == answer:
                assert relative_error(maps[index], plain[image]) < 1e-10


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("name", ["updn", "pythia", "san", "lxmert"])
def test_one_image(name, cls):
    maps = maps_of(name, quick(cls), {k: v[:1] for k, v in region_batch().items()})
    assert maps.shape == (1, OBJECTS)
    assert torch.isfinite(maps).all()


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("name", ["updn", "pythia", "san", "lxmert"])
def test_padding_has_no_attribution(name, cls):
    """And what the padding holds changes nothing."""
    batch = region_batch(padding=True)
    maps = maps_of(name, quick(cls), batch)
    assert maps[0, -1] == 0
    assert torch.isfinite(maps).all()


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("name", REGION_BUILDERS)
def test_max_rows_changes_nothing(name, cls):
    whole = maps_of(name, quick(cls), region_batch())
    assert relative_error(maps_of(name, quick(cls), region_batch(), max_rows=4), whole.detach()) < 1e-11


@pytest.mark.parametrize("cls", METHODS)
def test_gradients_in_the_parameters(cls):
    """gradcheck in the weights of a smooth model, where no gradient is stopped on purpose."""
    if cls.__name__ in ("LeaveOneOut", "KeepOneIn", "KernelSHAP"):
        pytest.skip("gradients are stopped at the full or the null input; see test_golden_boxes and test_perturbation")
    model, method = ToyVQA(), quick(cls)

    def maps(wv, wo):
        for name, value in (("Wv", wv), ("Wo", wo)):
            model._parameters.pop(name, None)
            model.__dict__[name] = value
        torch.manual_seed(5)
        return explain(model, region_family("toy"), region_batch(), method).attribution(method)

    inputs = [p.detach().clone().requires_grad_() for p in (model.Wv, model.Wo)]
    assert torch.autograd.gradcheck(maps, inputs, fast_mode=True)


@pytest.mark.parametrize("cls", METHODS)
def test_round_trip(cls):
    guidance = Guidance(term=Term(Alignment(quick(cls)), weight=0.5))
    assert Guidance.from_dict(guidance.to_dict()) == guidance


def test_gradcam_needs_places():
    assert maps_of("toy", GradCAM(layer="input", relu=False), region_batch()).shape == (3, OBJECTS)
