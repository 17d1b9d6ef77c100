"""Models on region features: layout, and that what is re-used equals running the edited copies."""

import pytest
import torch
from tiny import explain, parameter_gradients, relative_error
from torch import nn
from toy_vqa import (
    ANSWERS,
    OBJECTS,
    REGION_BUILDERS,
    fresh_region_model,
    region_batch,
    region_family,
    region_model,
)

from hf_guidance.attributions import GradCAM, Gradient, InputXGradient, IntegratedGradients, LabelLogit
from hf_guidance.families import Family, RegionFamily, family_of
from hf_guidance.forward import Forward
from hf_guidance.views import FULL, IMPORTANT, UNIMPORTANT, Coalitions, Nothing, OneBox, View, gaussian, marginal, zeros

VIEWS = (
    IMPORTANT,
    UNIMPORTANT,
    View(Nothing()),
    View(OneBox(leave_out=True)),
    View(Coalitions(6)),
    View(OneBox(budget=2), zeros),
    View(OneBox(budget=2), marginal),
    View(Nothing(), gaussian),
)


def plainly(family, monkeypatch):
    """The family without re-use."""
    for name in ("call", "call_hard"):
        monkeypatch.setattr(type(family), name, getattr(Family, name))


def joined(gradients):
    """All parameters in one vector: some have no gradient but rounding, as what a softmax does not see."""
    return torch.cat([gradient.flatten() for gradient in gradients])


def logits_of(name, views, batch, **options):
    needs = frozenset({(FULL, "logits"), *((view, "logits") for view in views)})
    model, family = region_model(name), region_family(name)
    torch.manual_seed(3)  # the same draws in every call
    return Forward(model, family, batch, needs, **options)


@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("max_rows", [None, 1, 7])
@pytest.mark.parametrize("name", REGION_BUILDERS)
def test_re_used_encodings_equal_edited_copies(name, max_rows, padding, monkeypatch):
    """Values and parameter gradients."""
    batch = region_batch(padding=padding and name != "toy")
    quick = logits_of(name, VIEWS, batch, max_rows=max_rows)
    plainly(region_family(name), monkeypatch)
    slow = logits_of(name, VIEWS, batch)
    for view in VIEWS:
        assert relative_error(quick.logits(view), slow.logits(view).detach()) < 1e-12
        mine, theirs = (parameter_gradients(f.logits(view).square().sum(), region_model(name)) for f in (quick, slow))
        assert relative_error(joined(mine), joined(theirs)) < 1e-12


@pytest.mark.parametrize("name", ["updn", "pythia", "san", "lxmert"])
def test_copies_that_are_differentiated_re_use_the_question(name, monkeypatch):
    method, batch = IntegratedGradients(steps=3), region_batch()
    model, family = region_model(name), region_family(name)
    quick = explain(model, family, batch, method).attribution(method)
    ours = parameter_gradients(quick.square().sum(), model)
    plainly(family, monkeypatch)
    slow = explain(model, family, batch, method).attribution(method)
    assert relative_error(quick, slow.detach()) < 1e-12
    theirs = parameter_gradients(slow.square().sum(), model)
    assert relative_error(joined(ours), joined(theirs)) < 1e-12


@pytest.mark.parametrize("name", REGION_BUILDERS)
def test_logits_of_views_are_those_of_a_loop_over_copies(name):
    batch = region_batch()
    model, family = region_model(name), region_family(name)
    inputs = {column: batch[column] for column in family.inputs if column in batch}
    forward = logits_of(name, VIEWS, batch)
    for view in VIEWS:
        keep, fill = forward.keep(view), forward.fill(view)
        fill = fill if not fill.dim() else fill.transpose(1, 2)
        for copy, mask in enumerate(keep):
            features = torch.where(mask[..., None], batch["visual_feats"], fill)
            expected = model(**inputs | {"visual_feats": features})[family.logits]
            assert relative_error(forward.logits(view)[copy], expected.detach()) < 1e-12


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("updn", "question_encoder"),
        ("pythia", "text_attention.lstm"),
        ("san", "question_encoder"),
        ("lxmert", "lxmert.encoder.layer.0"),
    ],
)
def test_a_question_is_encoded_once_a_step(name, encoder):
    model, calls = fresh_region_model(name), []
    model.get_submodule(encoder).register_forward_hook(lambda *_: calls.append("question"))
    model.register_forward_pre_hook(lambda *_: calls.append("model"))
    needs = frozenset((view, "logits") for view in (FULL, IMPORTANT, UNIMPORTANT, View(Nothing())))
    Forward(model, region_family(name), region_batch(), needs)
    assert calls.count("question") == 1
    assert calls.count("model") == 2  # the full input; three views in one call


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("updn", "box_projection"),
        ("pythia", "box_attention.projection"),
        ("pythia", "box_encoder"),
        ("san", "box_projection"),
    ],
)
def test_boxes_are_projected_once_a_step(name, layer):
    model, boxes = fresh_region_model(name), []
    model.get_submodule(layer).register_forward_hook(lambda m, inputs, o: boxes.append(inputs[0].shape[:-1].numel()))
    needs = frozenset({(FULL, "logits"), (View(OneBox(leave_out=True)), "logits")})
    Forward(model, region_family(name), region_batch(), needs)
    assert boxes[0] == 3 * OBJECTS
    assert sum(boxes[1:]) <= 1  # the constant fill


def test_the_language_layers_are_put_back():
    model = fresh_region_model("lxmert")
    before, names = model.lxmert.encoder.layer, [name for name, _ in model.named_parameters()]
    logits_of("lxmert", VIEWS, region_batch())
    Forward(model, region_family("lxmert"), region_batch(), frozenset({(FULL, "logits"), (IMPORTANT, "logits")}))
    assert model.lxmert.encoder.layer is before
    assert [name for name, _ in model.named_parameters()] == names
    assert not model.lxmert.embeddings._forward_hooks


@pytest.mark.parametrize("layer", ["mid1", "mid2", "mid3", "final"])
def test_every_layer_of_lxmert_has_a_gradient_at_every_box(layer):
    gradient = explain(region_model("lxmert"), region_family("lxmert"), region_batch(), Gradient(layer)).gradient(
        layer, LabelLogit()
    )
    assert gradient.shape == (3, 8, OBJECTS)
    assert gradient.abs().sum(1).min() > 1e-6


@pytest.mark.parametrize(("name", "output"), [("pythia", "box_encoding"), ("san", "box_projection")])
def test_the_encoded_boxes_are_a_layer_with_boxes(name, output):
    """At which GradCAM works as it is: it equals the gradient and the activation, written out."""
    model, family, batch = region_model(name), region_family(name), region_batch()
    inputs = {column: batch[column] for column in family.inputs if column in batch}
    encoded = model.get_submodule(family.layers["final"])(batch["visual_feats"]).detach().requires_grad_()
    logits = model(**inputs, **{output: encoded}).logits.gather(1, batch["target"][:, None]).sum()
    (gradient,) = torch.autograd.grad(logits, encoded)
    methods = GradCAM(relu=False), InputXGradient("final"), Gradient("final")
    expected = (encoded * gradient.mean(1, keepdim=True)).sum(-1), (encoded * gradient).sum(-1), gradient.sum(-1)
    forward = explain(model, family, batch, *methods)
    for method, values in zip(methods, expected, strict=True):
        assert relative_error(forward.attribution(method), values.detach()) < 1e-12
    assert torch.equal(
        explain(model, family, batch, GradCAM()).attribution(GradCAM()), forward.attribution(methods[0]).clamp(0)
    )


FUSED = {"updn": 8, "pythia": 16, "pythia_grid": 16, "san": 8, "lxmert": 8}


@pytest.mark.parametrize("name", FUSED)
def test_the_fused_layer_gives_the_vectors_of_sort(name):
    """One vector per question, d score / d J * J, differentiable again; the logits depend on the image through J alone."""
    model, family, batch = region_model(name), region_family(name), region_batch()
    inputs = {column: batch[column] for column in family.inputs if column in batch}
    fused = []
    handle = model.get_submodule(family.layers["fusion"]).register_forward_hook(
        lambda m, i, output: fused.append(output)
    )
    logits = model(**inputs)[family.logits]
    handle.remove()
    chosen = logits.gather(1, batch["target"][:, None]).sum()
    (gradient,) = torch.autograd.grad(chosen, fused[0], create_graph=True)
    methods = GradCAM("fusion", relu=False), InputXGradient("fusion"), Gradient("fusion")
    forward = explain(model, family, batch, *methods)
    for method, expected in zip(methods, (gradient * fused[0], gradient * fused[0], gradient), strict=True):
        ours = forward.attribution(method)
        assert ours.shape == (3, FUSED[name])
        assert relative_error(ours, expected.detach()) < 1e-12
        if not expected.requires_grad:
            continue
        theirs = parameter_gradients(expected.square().sum(), model)
        assert relative_error(joined(parameter_gradients(ours.square().sum(), model)), joined(theirs)) < 1e-11
    (left,) = torch.autograd.grad(chosen, next(model.parameters()), retain_graph=True, allow_unused=True)
    (through,) = torch.autograd.grad(fused[0], next(model.parameters()), gradient.detach(), allow_unused=True)
    assert left is not None
    assert relative_error(through, left) < 1e-12


@pytest.mark.parametrize("name", FUSED)
def test_each_answer_of_a_question_has_a_vector(name):
    """Rows equal the vectors of each (question, answer) alone, and without gradients they hold no graph."""
    method, batch = InputXGradient("fusion"), region_batch()
    model, family = region_model(name), region_family(name)
    rows = {"row": [1, 2, 0, 1], "slot": [0, 0, 0, 1], "target": torch.tensor([2, 0, 1, 1])}
    with torch.no_grad():
        vectors = explain(model, family, batch | rows, method).attribution(method)
    assert not vectors.requires_grad
    for index, image in enumerate(rows["row"]):
        alone = {k: v[image : image + 1] for k, v in batch.items()} | {"target": rows["target"][index : index + 1]}
        assert (
            relative_error(vectors[index : index + 1], explain(model, family, alone, method).attribution(method))
            < 1e-11
        )


def test_padding_boxes_do_not_cut_a_vector_that_is_as_long():
    """The fused layer of LXMERT has 8 numbers; and here an image has 8 boxes, the last of which is padding."""
    batch = region_batch(objects=8, padding=True)
    forward = explain(region_model("lxmert"), region_family("lxmert"), batch, InputXGradient("fusion"))
    ours = forward.attribution(InputXGradient("fusion"))
    assert torch.equal(ours, forward.activation("fusion") * forward.gradient("fusion", LabelLogit()))
    assert ours[0, -1] != 0


def test_gradcam_at_vectors_asks_for_their_sign():
    forward = explain(region_model("updn"), region_family("updn"), region_batch(), GradCAM("fusion"))
    with pytest.raises(ValueError, match=r"vectors \(3, 8\) without places.*relu=False for the signed vector of SOrT"):
        forward.attribution(GradCAM("fusion"))


@pytest.mark.parametrize("name", REGION_BUILDERS)
def test_gradients_at_the_features_are_those_of_autograd(name):
    model, family, batch = region_model(name), region_family(name), region_batch()
    features = batch["visual_feats"].clone().requires_grad_()
    inputs = {column: batch[column] for column in family.inputs if column in batch} | {"visual_feats": features}
    chosen = model(**inputs)[family.logits].gather(1, batch["target"][:, None]).sum()
    (expected,) = torch.autograd.grad(chosen, features)
    forward = explain(model, family, batch, Gradient())
    assert relative_error(forward.gradient("input", LabelLogit()), expected.transpose(1, 2)) < 1e-12
    assert forward.activation("input").shape == (3, 4, OBJECTS)
    assert forward.attribution(Gradient()).shape == (3, OBJECTS)


@pytest.mark.parametrize("name", ["updn", "pythia", "san", "lxmert"])
def test_padding_has_no_attribution(name):
    batch = region_batch(padding=True)
    maps = explain(region_model(name), region_family(name), batch, Gradient()).attribution(Gradient())
    assert maps[0, -1] == 0
    assert maps[:, :-1].all()


def test_answer_heads_of_any_size():
    assert region_model("lxmert")(**{k: region_batch()[k] for k in ("input_ids", "visual_feats", "visual_pos")})[
        "question_answering_score"
    ].shape == (3, ANSWERS)
    assert family_of(region_model("lxmert")).logits == "question_answering_score"


def test_wrong_layouts_are_named():
    family = RegionFamily(layers={})
    with pytest.raises(ValueError, match=r"'visual_feats' has shape \(3, 4\)"):
        family.canonical(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 5\) has no known layout"):
        family.spatial(torch.zeros(2, 3, 4, 5), None)


def test_stacked_views_do_not_meet_in_a_batch_norm():
    """In train mode the copies of a view are normalised by their own statistics, whatever else runs in the step."""

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.head = nn.BatchNorm1d(4), nn.Linear(4, 2)

        def forward(self, visual_feats):
            return {"logits": self.head(self.norm(visual_feats.mean(1)).tanh())}

    model, family = Normed().double().train(), RegionFamily(layers={}, inputs=("visual_feats",))
    alone = Forward(model, family, region_batch(), frozenset({(IMPORTANT, "logits")})).logits(IMPORTANT)
    both = Forward(model, family, region_batch(), frozenset({(IMPORTANT, "logits"), (UNIMPORTANT, "logits")}))
    assert torch.equal(alone, both.logits(IMPORTANT))
