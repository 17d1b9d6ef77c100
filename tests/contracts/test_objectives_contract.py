"""What every objective promises. New ones are covered on arrival."""

import json
import re
from typing import ClassVar

import pytest
import torch
from tiny import (
    BUILDERS,
    SMOOTH_FAMILY,
    explain,
    make_batch,
    parameter_gradients,
    relative_error,
    smooth_net,
    tiny_family,
    tiny_model,
)
from torch.nn.functional import avg_pool2d

from hf_guidance import attributions, objectives
from hf_guidance.attributions import GradCAM, InputXGradient, IntegratedGradients
from hf_guidance.data.columns import ANSWER, SAVED_MAP
from hf_guidance.forward.maps import onto_places
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import AttributionObjective, Normalization, Objective, SavedMapObjective

WITH_STRIDE_32 = re.compile("resnet|convnext")
BASES = (AttributionObjective, SavedMapObjective)
ON_MAPS = [
    cls
    for cls in (getattr(objectives, name) for name in objectives.__all__)
    if issubclass(cls, AttributionObjective) and cls not in BASES
]
METHODS = [attributions.Gradient, GradCAM, InputXGradient, IntegratedGradients]


def column_of(cls):
    """The column that the objective compares maps with."""
    return cls().importance


def batch_for(cls, **options):
    """A batch with that column, and with the answers that make its rows count."""
    batch = make_batch(**options)
    if issubclass(cls, SavedMapObjective):
        batch[SAVED_MAP] = batch["importance"].double() * 3  # in any unit
        batch[ANSWER] = [cls.answer] * len(batch["labels"])
    return hard_to_meet(cls, batch)


def hard_to_meet(cls, batch):
    """A hinge is met where one of many important places leads: few places, so that some row violates it."""
    if cls is objectives.InfluenceSCR:
        few = torch.zeros_like(batch["importance"])
        few[:, :3, :3] = 1
        return batch | {"importance": few}
    return batch


def permuted(batch, order):
    return {k: v[order] if isinstance(v, torch.Tensor) else [v[i] for i in order] for k, v in batch.items()}


def loss_and_gradients(objective, model, family, batch, **term):
    guidance = Guidance(guided=Term(objective, **term))
    value, logs = guidance(explain(model, family, batch, *(t.objective for t in guidance.values())))
    return value, logs, parameter_gradients(value, model)


def test_all_objectives_are_found():
    assert len(ON_MAPS) >= 9
    assert all(issubclass(getattr(objectives, name), Objective | Normalization) for name in objectives.__all__)


@pytest.mark.parametrize("cls", ON_MAPS)
@pytest.mark.parametrize("rows", [1, 5])
def test_loss_takes_rows_and_gives_one_number_a_row(cls, rows):
    generator = torch.Generator().manual_seed(rows)
    attribution = torch.rand(rows, 7, generator=generator)
    importance = (torch.rand(rows, 7, generator=generator) > 0.5).float()
    whole = cls.loss(attribution, importance)
    assert whole.shape == (rows,)
    assert torch.isfinite(whole).all()
    for row in range(rows):
        assert torch.allclose(whole[row], cls.loss(attribution[row : row + 1], importance[row : row + 1])[0])


@pytest.mark.parametrize("cls", ON_MAPS)
def test_loss_falls_when_the_map_moves_onto_the_importance(cls):
    importance = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    right, wrong = torch.tensor([[1.0, 0.9, 0.1, 0.2]]), torch.tensor([[0.1, 0.2, 1.0, 0.9]])
    away = cls is objectives.IrrelevantCRAYON  # its map is to leave the places
    assert bool(cls.loss(right, importance) > cls.loss(wrong, importance)) is away


@pytest.mark.parametrize("cls", ON_MAPS)
@pytest.mark.parametrize("attribution", ["zero", "negative", "constant", "tiny", "random"])
@pytest.mark.parametrize("importance", ["empty", "full", "some"])
def test_odd_maps_and_masks_are_finite(cls, attribution, importance):
    """In value and gradient, through the normalisation and the upscaling of the objective."""
    maps = {
        "zero": torch.zeros(1, 4, 4), "negative": -torch.rand(1, 4, 4), "constant": torch.full((1, 4, 4), 0.7),
        "tiny": torch.randn(1, 4, 4) * 1e-30, "random": torch.randn(1, 4, 4),
    }[attribution].requires_grad_()  # fmt: skip
    masks = {"empty": torch.zeros(1, 8, 6), "full": torch.ones(1, 8, 6), "some": (torch.rand(1, 8, 6) > 0.5).float()}

    class Given:
        family = SMOOTH_FAMILY
        create_graph = True
        batch: ClassVar = {"quadrant": torch.zeros(1, dtype=torch.long)}

        def logits(self):
            return torch.zeros(1, 3)

        def of_rows(self, values):
            return values

        def column(self, name):
            return torch.zeros(1, 3, 8, 6)

        def attribution(self, method):
            return maps * 1.0

        def importance(self, column, space=None):
            return masks[importance] if space is None else onto_places(masks[importance], space)

        def seen(self, space):
            return (1.0, 1.0)

        def real_places(self, space):
            return None

    value = cls()(Given())
    assert value.shape == (1,)
    assert torch.isfinite(value).all()
    (gradient,) = torch.autograd.grad(value.sum(), maps)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("cls", ON_MAPS)
@pytest.mark.parametrize("layer", ["input", "mid2", "final"])
@pytest.mark.parametrize("name", BUILDERS)
def test_gradients_reach_the_parameters(name, layer, cls):
    # Networks of convolutions take any size; at 32x64 their last map would have two places, where much cancels.
    batch = batch_for(cls, size=(64, 96) if WITH_STRIDE_32.search(name) else (32, 64))
    if cls is objectives.RankingHINT:  # ranks every pair of places: a quarter of the height and width, 256 times fewer
        batch |= {"importance": avg_pool2d(batch["importance"], 4)}
    model, family = tiny_model(name), tiny_family(name)
    objective = cls(InputXGradient(layer))
    value = objective(explain(model, family, batch, objective))
    assert value.shape == (3,)
    assert torch.isfinite(value).all()
    gradients = parameter_gradients(value.sum(), model)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert max(gradient.abs().max().item() for gradient in gradients) > 1e-9


@pytest.mark.parametrize("cls", ON_MAPS)
@pytest.mark.parametrize("name", ["resnet", "vit", "timm_swin"])
def test_permuted_rows_give_permuted_losses(name, cls):
    model, family, batch = tiny_model(name), tiny_family(name), batch_for(cls)
    order = torch.tensor([1, 2, 0])
    objective = cls(InputXGradient("mid1"))
    value = objective(explain(model, family, batch, objective)).detach()
    again = objective(explain(model, family, permuted(batch, order), objective))
    assert relative_error(again, value[order]) < 1e-9


@pytest.mark.parametrize("cls", ON_MAPS)
@pytest.mark.parametrize("reduction", ["batch", "rows", "sum"])
@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_rows_without_annotation_weigh_nothing(name, reduction, cls):
    """Their importance may be anything: the step's loss, log and parameter gradients do not change."""
    model, family = tiny_model(name), tiny_family(name)
    batch, column = batch_for(cls) | {"annotated": [True, False, True]}, column_of(cls)
    changed = batch[column].clone()
    changed[1] = 1 - changed[1]
    empty = batch[column].clone()
    empty[1] = 0
    objective = cls(InputXGradient("mid3"))
    value, logs, gradients = loss_and_gradients(objective, model, family, batch, reduction=reduction)
    assert logs["loss/guided"] > 0
    for importance in (changed, empty):
        other = loss_and_gradients(objective, model, family, batch | {column: importance}, reduction=reduction)
        assert torch.equal(other[0], value)
        assert torch.equal(other[1]["loss/guided"], logs["loss/guided"])
        assert all(torch.equal(a, b) for a, b in zip(other[2], gradients, strict=True))
    annotated = loss_and_gradients(objective, model, family, batch | {"annotated": [True] * 3}, reduction=reduction)
    assert not torch.equal(annotated[0], value)


@pytest.mark.parametrize("cls", ON_MAPS)
def test_a_batch_without_annotation_has_the_gradients_of_the_task(cls):
    model, family = tiny_model("resnet"), tiny_family("resnet")
    batch = batch_for(cls) | {"annotated": [False] * 3}
    value, logs, gradients = loss_and_gradients(cls(InputXGradient()), model, family, batch)
    task = torch.nn.functional.cross_entropy(model(pixel_values=batch["pixel_values"])["logits"], batch["labels"])
    assert torch.allclose(value, task)
    assert logs["loss/guided"] == 0
    for ours, plain in zip(gradients, parameter_gradients(task, model), strict=True):
        assert torch.allclose(ours, plain, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cls", ON_MAPS)
def test_gradients_of_a_guided_step_equal_finite_differences(cls, method):
    """The whole path: forward, first derivative, map, normalisation, upscaling, loss, reduction, task."""
    model, batch = smooth_net(), batch_for(cls, images=2, size=(5, 6), channels=2, seed=4)
    options = {"steps": 2} if method is IntegratedGradients else {"relu": False} if method is GradCAM else {}
    guidance = Guidance(guided=Term(cls(method("mid1", **options)), weight=0.7))

    def step():
        return guidance(explain(model, SMOOTH_FAMILY, batch, *(t.objective for t in guidance.values())))[0]

    gradients = parameter_gradients(step(), model)
    parameters = list(model.parameters())
    generator = torch.Generator().manual_seed(0)
    scale = max(gradient.abs().max().item() for gradient in gradients)
    for which in (0, 1, 2, 4):
        parameter, gradient = parameters[which], gradients[which]
        entry = int(torch.randint(parameter.numel(), (), generator=generator))
        flat = parameter.data.view(-1)
        before, width = flat[entry].item(), 1e-6
        values = []
        for sign in (1, -1):
            flat[entry] = before + sign * width
            values.append(step().item())
        flat[entry] = before
        assert (values[0] - values[1]) / (2 * width) == pytest.approx(
            gradient.reshape(-1)[entry].item(), abs=2e-6 * scale
        )


@pytest.mark.parametrize("cls", ON_MAPS)
@pytest.mark.parametrize("grid", ["importance", "attribution"])
def test_losses_themselves_are_twice_differentiable(cls, grid):
    torch.manual_seed(0)
    attribution = torch.rand(2, 6, dtype=torch.float64) * 0.8 + 0.1
    importance = (torch.rand(2, 6, dtype=torch.float64) > 0.5).double()
    importance[:, 0] = 1
    attribution.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: cls.loss(a, importance), attribution)
    assert torch.autograd.gradgradcheck(lambda a: cls.loss(a, importance), attribution)
    assert cls(grid=grid).grid == grid


@pytest.mark.parametrize("cls", ON_MAPS)
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("grid", ["importance", "attribution"])
def test_any_batch_size_and_either_grid(cls, images, grid):
    model, family, batch = tiny_model("convnext"), tiny_family("convnext"), batch_for(cls, images=images)
    objective = cls(InputXGradient("mid2"), grid=grid)
    value = objective(explain(model, family, batch, objective))
    assert value.shape == (images,)
    assert torch.isfinite(value).all()


@pytest.mark.parametrize(
    "cls",
    [
        cls
        for cls in map(objectives.__dict__.get, objectives.__all__)
        if issubclass(cls, Objective) and cls not in (Objective, *BASES[1:])
    ],
)
def test_round_trip_through_json(cls):
    objective = cls()
    if isinstance(objective, AttributionObjective):
        objective = cls(attribution=IntegratedGradients("mid1", steps=3), grid="attribution", importance="importance_2")
    guidance = Guidance(first=Term(objective, weight=0.25, reduction="rows"), second=cls())
    again = Guidance.from_dict(json.loads(json.dumps(guidance.to_dict())))
    assert again == guidance
    assert again["first"].objective == objective


@pytest.mark.parametrize("cls", ON_MAPS)
def test_float32_and_uint8_importance_agree(cls):
    model, family, batch = tiny_model("resnet"), tiny_family("resnet"), batch_for(cls)
    objective = cls(InputXGradient("mid1"))
    value = objective(explain(model, family, batch, objective)).detach()
    column = column_of(cls)
    bytes_ = batch | {column: batch[column].to(torch.uint8)}
    assert torch.equal(objective(explain(model, family, bytes_, objective)), value)
