import pytest
import torch
from tiny import (
    SMOOTH_FAMILY,
    explain,
    fresh_model,
    make_batch,
    parameter_gradients,
    relative_error,
    smooth_net,
    tiny_family,
    tiny_model,
)
from torch import nn

from hf_guidance.attributions import (
    ContrastLogits,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    LabelLogit,
    PredictedLogit,
    SoftLabelLogits,
)
from hf_guidance.families import Family, family_of
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import L1, Energy
from hf_guidance.views import FULL, View

LOGITS = frozenset({(FULL, "logits")})


@pytest.mark.parametrize("layer", ["input", "mid1", "final"])
@pytest.mark.parametrize("target", [LabelLogit(), PredictedLogit(), ContrastLogits(), SoftLabelLogits()], ids=repr)
@pytest.mark.parametrize("name", ["convnext", "vit"])
def test_gradients_equal_a_loop_over_rows(name, target, layer):
    """Several classes an image, rows in any order: one backward a slot gives what one backward a row gives."""
    model, family = tiny_model(name), tiny_family(name)
    batch = make_batch() | {
        "row": [2, 0, 0, 1, 2, 0],
        "slot": [0, 2, 0, 0, 1, 1],
        "target": torch.tensor([0, 1, 2, 2, 1, 0]),
        "labels": torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]),
    }
    forward = explain(model, family, batch, InputXGradient(layer))
    gradient = forward.gradient(layer, target).detach()
    weights = forward.weights(target)
    for index, image in enumerate(batch["row"]):
        with torch.no_grad():  # a graph of plain autograd, not prepared for a second derivative
            alone = explain(
                model, family, {"pixel_values": batch["pixel_values"][image : image + 1]}, InputXGradient(layer)
            )
        raw = alone._calls[FULL].layers[layer][0]
        (expected,) = torch.autograd.grad((alone.logits()[0] * weights[index]).sum(), raw)
        expected = expected if layer == "input" else family.spatial(expected, (32, 64))
        assert relative_error(gradient[index], expected[0]) < 1e-9


def test_rows_need_no_slots_where_every_image_has_one():
    batch = make_batch() | {"row": [2, 0, 1], "target": torch.tensor([1, 1, 0])}
    model, family = tiny_model("resnet"), tiny_family("resnet")
    maps = explain(model, family, batch, InputXGradient()).attribution(InputXGradient())
    slots = explain(model, family, batch | {"slot": [0, 1, 2]}, InputXGradient()).attribution(InputXGradient())
    assert relative_error(maps, slots.detach()) < 1e-12


@pytest.mark.parametrize("slot", [None, [0, 0, 1]])
def test_an_image_twice_in_a_slot_is_refused(slot):
    """Its two gradients would be added up silently."""
    batch = (
        make_batch() | {"row": [0, 0, 1], "target": torch.tensor([1, 2, 0])} | ({} if slot is None else {"slot": slot})
    )
    if slot is None:
        del batch["labels"]
    with pytest.raises(ValueError, match="slot"):
        explain(tiny_model("resnet"), tiny_family("resnet"), batch, InputXGradient()).attribution(InputXGradient())


def test_activations_scores_and_logits_of_rows():
    model, family = tiny_model("resnet"), tiny_family("resnet")
    batch = make_batch() | {"row": [2, 0, 2], "slot": [0, 0, 1], "target": torch.tensor([1, 0, 2])}
    forward = explain(model, family, batch, InputXGradient("mid1"))
    logits = model(pixel_values=batch["pixel_values"])["logits"]
    assert torch.allclose(forward.logits(), logits)
    assert torch.allclose(forward.scores(LabelLogit()), logits[[2, 0, 2], [1, 0, 2]])
    assert torch.equal(forward.activation("mid1")[0], forward.activation("mid1")[2])
    assert forward.annotated.tolist() == [1, 1, 1]
    assert forward.images == 3


def test_the_model_runs_once_for_all_that_shares_a_view(monkeypatch):
    model, calls, backwards = smooth_net(), [], []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    original = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: backwards.append(1) or original(*a, **k))
    guidance = Guidance(a=Energy(InputXGradient("mid1")), b=L1(InputXGradient("mid1")), c=Energy(GradCAM("mid1")))
    batch = make_batch(size=(6, 8), channels=2)
    guidance(explain(model, SMOOTH_FAMILY, batch, *(t.objective for t in guidance.values())))
    assert len(calls) == 1
    assert len(backwards) == 1


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_one_backward_a_slot_whatever_the_number_of_rows(monkeypatch, slots):
    calls = []
    original = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(1) or original(*a, **k))
    rows = {"row": [0, 1, 2] * slots, "slot": [s for s in range(slots) for _ in range(3)]}
    batch = make_batch() | rows | {"target": torch.zeros(3 * slots, dtype=torch.long)}
    explain(tiny_model("resnet"), tiny_family("resnet"), batch, InputXGradient()).attribution(InputXGradient())
    assert len(calls) == slots


UNEVEN = {
    "row": [1, 0, 1, 2, 1, 0], "slot": [0, 1, 2, 0, 1, 0], "target": torch.tensor([0, 1, 2, 2, 1, 0]),
}  # fmt: skip


@pytest.mark.parametrize("layer", ["input", "mid2"])
@pytest.mark.parametrize("name", ["resnet", "bcos_resnet", "vit"])
def test_evaluation_runs_images_with_as_many_rows_together(name, layer):
    """Under no_grad an image takes part in as many backwards as it has rows; nothing but the time changes."""
    model, family, method = tiny_model(name), tiny_family(name), InputXGradient(layer)
    batch = make_batch() | UNEVEN
    sizes = []
    hook = model.register_forward_pre_hook(
        lambda _, args, inputs: sizes.append(len(inputs["pixel_values"])), with_kwargs=True
    )
    together = explain(model, family, batch, method)
    with torch.no_grad():
        apart = explain(model, family, batch, method)
    hook.remove()
    assert sizes == [3, 1, 1, 1]  # images 2, 0 and 1 have 1, 2 and 3 rows
    for values in ("logits", "activation", "attribution"):
        given = {"logits": (), "activation": (layer,), "attribution": (method,)}[values]
        expected, found = (getattr(forward, values)(*given) for forward in (together, apart))
        assert relative_error(found, expected.detach()) < 1e-12


def test_images_without_rows_are_still_predicted():
    model, family = tiny_model("resnet"), tiny_family("resnet")
    batch = make_batch() | {"row": [1, 1], "slot": [0, 1], "target": torch.tensor([0, 1])}
    with torch.no_grad():
        forward = explain(model, family, batch, InputXGradient())
        logits = model(pixel_values=batch["pixel_values"]).logits
    assert relative_error(forward.logits(), logits) < 1e-12
    assert forward.attribution(InputXGradient()).shape == (2, 32, 64)


def test_a_layer_by_its_path_is_the_symbolic_layer():
    model, family, batch = tiny_model("resnet"), tiny_family("resnet"), make_batch()
    by_path = InputXGradient("resnet.encoder.stages.3")
    forward = explain(model, family, batch, InputXGradient("final"), by_path)
    assert torch.equal(forward.attribution(by_path), forward.attribution(InputXGradient("final")))


def test_input_in_half_precision_gives_full_precision_maps():
    model = smooth_net().to(torch.bfloat16)
    batch = make_batch(size=(6, 8), channels=2)
    batch["pixel_values"] = batch["pixel_values"].bfloat16()
    forward = explain(model, SMOOTH_FAMILY, batch, InputXGradient("mid1"))
    assert forward.attribution(InputXGradient("mid1")).dtype == torch.float32


def test_autocast_gives_maps_close_to_full_precision():
    model, batch = smooth_net().float(), make_batch(size=(6, 8), channels=2)
    batch["pixel_values"] = batch["pixel_values"].float()
    exact = explain(model, SMOOTH_FAMILY, batch, InputXGradient("mid1")).attribution(InputXGradient("mid1"))
    with torch.autocast("cpu", torch.bfloat16):
        forward = explain(model, SMOOTH_FAMILY, batch, Energy(InputXGradient("mid1")))
        maps = forward.attribution(InputXGradient("mid1"))
        loss = Energy(InputXGradient("mid1"))(forward)
    assert maps.dtype == loss.dtype == torch.float32
    assert relative_error(maps, exact.detach()) < 0.05
    loss.sum().backward()
    assert torch.isfinite(model.conv1.weight.grad).all()


def test_frozen_layers_below_do_not_hinder():
    model, batch = smooth_net(), make_batch(size=(6, 8), channels=2)
    model.conv1.requires_grad_(False)
    open_ = explain(smooth_net(), SMOOTH_FAMILY, batch, InputXGradient("mid1")).attribution(InputXGradient("mid1"))
    maps = explain(model, SMOOTH_FAMILY, batch, InputXGradient("mid1")).attribution(InputXGradient("mid1"))
    assert relative_error(maps, open_.detach()) < 1e-12
    assert maps.requires_grad


def test_graphs_are_freed_with_the_forward():
    import gc
    import weakref

    model, family, batch = tiny_model("resnet"), tiny_family("resnet"), make_batch()
    forward = explain(model, family, batch, InputXGradient())
    forward.attribution(InputXGradient()).sum().backward(inputs=[next(model.parameters())])
    next(model.parameters()).grad = None
    maps = weakref.ref(forward.attribution(InputXGradient()))
    del forward
    gc.collect()
    assert maps() is None


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({}, "no column 'pixel_values'"),
        ({"pixel_values": torch.zeros(1, 2, 4, 4, dtype=torch.uint8)}, r"dtype torch.uint8.*float32"),
    ],
)
def test_wrong_features_are_named(batch, message):
    with pytest.raises(ValueError, match=message):
        explain(smooth_net(), SMOOTH_FAMILY, batch, InputXGradient())


def test_what_was_not_declared_is_refused():
    forward = Forward(smooth_net(), SMOOTH_FAMILY, make_batch(size=(4, 4), channels=2), LOGITS)
    with pytest.raises(ValueError, match="not among the needs"):
        forward.logits(View(draw=3))
    with pytest.raises(ValueError, match=r"'mid1'.*needs"):
        forward.activation("mid1")


def test_importance_of_another_length_is_refused():
    batch = make_batch(size=(4, 4), channels=2) | {"importance": torch.zeros(3, 5)}
    forward = Forward(smooth_net(), SMOOTH_FAMILY, batch, LOGITS)
    assert forward.importance("importance").shape == (3, 5)
    with pytest.raises(ValueError, match=r"column 'importance' holds \(5,\) per explained row, the layer \(6,\)"):
        forward.importance("importance", (6,))


def test_a_model_without_logits_is_refused():
    class Scores(nn.Module):
        def forward(self, pixel_values):
            return {"scores": pixel_values.mean((2, 3))}

    with pytest.raises(ValueError, match=r"dict without 'logits'.*Family\(logits"):
        Forward(Scores(), Family(layers={}), make_batch(), LOGITS)
    forward = Forward(Scores(), Family(layers={}, logits="scores"), make_batch(), LOGITS)
    assert forward.logits().shape == (3, 3)


def test_checkpointing_does_not_undo_edits_of_a_layer():
    objective, found = L1(IntegratedGradients("mid2", steps=2)), []
    for checkpointing in (False, True):
        model = fresh_model("vit").train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        forward = explain(model, tiny_family("vit"), make_batch(), objective)
        found.append(parameter_gradients(objective(forward).sum(), model))
        assert model.is_gradient_checkpointing is checkpointing
    assert any(gradient.any() for gradient in found[0])
    for plain, checkpointed in zip(*found, strict=True):
        assert torch.allclose(plain, checkpointed, atol=1e-12)


def test_a_batch_without_rows_has_a_forward():
    batch = make_batch() | {"row": [], "slot": [], "annotated": [], "importance": torch.zeros(0, 32, 64)}
    forward = Forward(tiny_model("resnet"), tiny_family("resnet"), batch, frozenset({(FULL, "logits")}))
    assert forward.of_rows(forward.logits()).shape == (0, 3)


def test_copies_see_each_other_in_train_mode_with_and_without_gradients():
    """Batch statistics are those of all copies, so calls of a few copies would change them."""
    model, batch = fresh_model("resnet").train(), make_batch(images=2, size=(112, 112))
    method = IntegratedGradients("input", steps=40)

    def maps():
        return explain(model, family_of(model), batch, method).attribution(method).detach()

    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = maps()
    model.load_state_dict(state)
    with torch.no_grad():
        assert relative_error(maps(), found) < 1e-9
