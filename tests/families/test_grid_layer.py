"""Pythia's layer "grid": maps over the cells, equal to derivatives by hand."""

from dataclasses import replace

import pytest
import torch
from tiny import explain, parameter_gradients, relative_error
from toy_vqa import GRID, fresh_region_model, region_batch, region_family, region_model

from hf_guidance.attributions import GradCAM, Gradient, InputXGradient, IntegratedGradients, LabelLogit
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.objectives import Alignment
from hf_guidance.views import FULL, Important, OneBox, View, zeros

NAME = "pythia_grid"
HEIGHT, WIDTH = 2, 3


def grid_batch(images=3, cells=HEIGHT * WIDTH, **options):
    generator = torch.Generator().manual_seed(7)
    grid = torch.randn(images, cells, GRID, generator=generator, dtype=torch.float64)
    human = torch.rand(images, 8, 6, generator=generator)
    return region_batch(images=images, **options) | {"grid_feats": grid, "human_map": human}


def grid_family(name=NAME):
    return replace(family_of(region_model(name)), grid=(HEIGHT, WIDTH))


def derivative(model, batch):
    """The grid and d(logit of the answer) / d(grid), (images, cells, dims), by autograd on the model's own argument."""
    grid = batch["grid_feats"].clone().requires_grad_()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "visual_feats")}
    inputs["visual_attention_mask"] = batch.get("visual_attention_mask")
    score = model(**inputs, grid_feats=grid).logits.gather(1, batch["target"][:, None]).sum()
    return grid, torch.autograd.grad(score, grid, create_graph=True)[0]


METHODS = {
    "GradCAM": (GradCAM("grid"), lambda f, g: (f * g.mean(1, keepdim=True)).sum(-1).clamp_min(0)),
    "signed GradCAM": (GradCAM("grid", relu=False), lambda f, g: (f * g.mean(1, keepdim=True)).sum(-1)),
    "InputXGradient": (InputXGradient("grid"), lambda f, g: (f * g).sum(-1)),
    "Gradient": (Gradient("grid"), lambda f, g: g.sum(-1)),
}


@pytest.mark.parametrize("case", METHODS)
def test_maps_and_their_derivatives_are_those_by_hand(case):
    method, by_hand = METHODS[case]
    model, batch = region_model(NAME), grid_batch()
    expected = by_hand(*derivative(model, batch)).unflatten(1, (HEIGHT, WIDTH))
    ours = explain(model, grid_family(), batch, method).attribution(method)
    assert relative_error(ours, expected.detach()) < 1e-12
    assert expected.any()
    mine, theirs = (parameter_gradients(maps.square().sum(), model) for maps in (ours, expected))
    mine, theirs = (torch.cat([part.flatten() for part in parts]) for parts in (mine, theirs))
    assert relative_error(mine, theirs) < 1e-11
    assert theirs.any()


def test_integrated_gradients_move_the_grid_alone():
    """Also beside importance of boxes, which says nothing of cells."""
    method, model, batch = IntegratedGradients("grid", steps=4), region_model(NAME), grid_batch()
    expected = 0.0
    for step in range(4):
        part = batch | {"grid_feats": batch["grid_feats"] * (step + 0.5) / 4}
        expected = expected + (batch["grid_feats"] * derivative(model, part)[1]).sum(-1) / 4
    ours = explain(model, grid_family(), batch, method).attribution(method)
    assert relative_error(ours, expected.detach().unflatten(1, (HEIGHT, WIDTH))) < 1e-12


@pytest.mark.parametrize("keep", [Important(column="human_map"), OneBox(leave_out=True)], ids=["people", "each cell"])
def test_views_edit_cells(keep):
    view, model, batch = View(keep, zeros, layer="grid"), region_model(NAME), grid_batch()
    forward = Forward(model, grid_family(), batch, frozenset({(FULL, "logits"), (FULL, "grid"), (view, "logits")}))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "visual_feats")}
    kept = forward.keep(view)
    assert kept.shape[2:] == (HEIGHT, WIDTH)
    for copy, mask in enumerate(kept):
        edited = batch["grid_feats"] * mask.flatten(1)[..., None]
        expected = model(**inputs, grid_feats=edited).logits
        assert relative_error(forward.logits(view)[copy], expected.detach()) < 1e-12


def test_questions_about_one_image_have_maps_of_their_own():
    """The projection of the grid may run once per image only where no map of the grid is read."""
    method, model, family = GradCAM("grid", relu=False), fresh_region_model(NAME), grid_family()
    same = [0, 0, 1]
    batch = grid_batch()
    for column in ("visual_feats", "visual_pos", "grid_feats"):
        batch[column] = batch[column][[same.index(image) for image in same]]
    alone = explain(model, family, batch, method).attribution(method)
    shared = explain(model, family, batch | {"same_image": same}, method).attribution(method)
    assert torch.equal(shared, alone)
    assert relative_error(shared[0], shared[1].detach()) > 1e-3
    fused = InputXGradient("fusion")
    assert (
        relative_error(
            explain(model, family, batch | {"same_image": same}, fused).attribution(fused),
            explain(model, family, batch, fused).attribution(fused).detach(),
        )
        < 1e-12
    )


def test_padding_boxes_do_not_cut_cells():
    """As many boxes as cells, the last of which is padding."""
    batch = grid_batch(objects=HEIGHT * WIDTH, padding=True)
    ours = explain(region_model(NAME), grid_family(), batch, Gradient("grid")).attribution(Gradient("grid"))
    expected = derivative(region_model(NAME), batch)[1].sum(-1).unflatten(1, (HEIGHT, WIDTH))
    assert relative_error(ours, expected.detach()) < 1e-12
    assert ours[0, -1, -1] != 0


def test_the_shape_of_the_grid():
    model = region_model(NAME)
    square = explain(model, family_of(model), grid_batch(cells=9), Gradient("grid"))
    assert square.gradient("grid", LabelLogit()).shape == (3, GRID, 3, 3)
    oblong = explain(model, family_of(model), grid_batch(), Gradient("grid"))
    with pytest.raises(
        ValueError, match=r"the grid has 6 cells, no square number; say how many .* grid=\(height, width\)"
    ):
        oblong.attribution(Gradient("grid"))
    wrong = explain(model, grid_family(), grid_batch(cells=9), Gradient("grid"))
    with pytest.raises(ValueError, match=r"the grid has 9 cells, not the grid=\(2, 3\) of the family"):
        wrong.attribution(Gradient("grid"))


def test_a_model_without_a_grid_has_no_such_layer():
    with pytest.raises(ValueError, match=r"layer='grid' is neither one of \['input', 'final', 'fusion', 'question'\]"):
        explain(region_model("pythia"), region_family("pythia"), region_batch(), GradCAM("grid"))


def test_boxes_are_not_aligned_with_cells():
    objective = Alignment(InputXGradient("grid"))
    with pytest.raises(ValueError, match=r"maps of \(2, 3\) places.*'importance' one number for each of 5 boxes"):
        objective(explain(region_model(NAME), grid_family(), grid_batch(), objective))
    told = Alignment(InputXGradient("grid"), importance="human_map")
    assert told(explain(region_model(NAME), grid_family(), grid_batch(), told)).shape == (3,)
