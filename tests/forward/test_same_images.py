"""Modules of the image run once per image: same values and gradients, in both derivatives, and fewer rows."""

from dataclasses import replace

import pytest
import torch
from tiny import relative_error
from toy_vqa import fresh_region_model, region_batch

from hf_guidance.attributions import Gradient, InputXGradient
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.views import FULL, Needs

IMAGES = [0, 0, 0, 1, 2, 2, 0]
LAYERS = {"updn": "fusion", "pythia": "fusion", "san": "fusion", "lxmert": "fusion"}


def setting(name):
    model = fresh_region_model(name)
    family = family_of(model)
    plain = replace(family, image_modules=())
    batch = region_batch(images=len(IMAGES), padding=True)
    for column in ("visual_feats", "visual_pos", "visual_attention_mask"):
        batch[column] = batch[column][[IMAGES.index(image) for image in IMAGES]]
    return model, plain, family, batch | {"same_image": IMAGES}


def step(model, family, batch, layer):
    method = InputXGradient(layer)
    forward = Forward(model, family, batch, method.needs())
    vectors = forward.attribution(method)
    value = vectors.square().sum() + forward.logits().square().sum()
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return forward.logits().detach(), vectors.detach(), dict(zip(names, gradients, strict=True))


def counted(function, seen):
    def call(x, *args, **kwargs):
        seen.append(len(x))
        return function(x, *args, **kwargs)

    return call


@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients(name):
    model, plain, family, batch = setting(name)
    ours, theirs = step(model, family, batch, LAYERS[name]), step(model, plain, batch, LAYERS[name])
    assert relative_error(ours[0], theirs[0]) < 1e-12
    assert relative_error(ours[1], theirs[1]) < 1e-12
    largest = max(gradient.abs().max() for gradient in theirs[2].values())
    for parameter, gradient in theirs[2].items():
        torch.testing.assert_close(ours[2][parameter], gradient, rtol=1e-9, atol=1e-13 * float(largest), msg=parameter)


@pytest.mark.parametrize("name", LAYERS)
def test_rows_of_the_modules(name):
    model, _, family, batch = setting(name)
    seen = []
    for path in family.image_modules:
        module = model.get_submodule(path)
        (linear, *_) = [m for m in module.modules() if not list(m.children())]
        linear.forward = counted(linear.forward, seen)
    step(model, family, batch, LAYERS[name])
    assert seen == [3] * len(family.image_modules)
    seen.clear()
    step(model, family, batch | {"same_image": list(range(7))}, LAYERS[name])
    assert seen == [7] * len(family.image_modules)


def test_all_rows_run_where_their_own_gradient_is_read():
    model, plain, family, batch = setting("lxmert")
    for layer in ("input", "lxmert.encoder.visn_fc", "lxmert.encoder.r_layers.0.output"):
        method = Gradient(layer, channels="keep")
        ours, theirs = (Forward(model, each, batch, method.needs()).attribution(method) for each in (family, plain))
        assert relative_error(ours, theirs.detach()) < 1e-12


def test_hooks_are_gone_and_a_family_without_modules_is_called_as_ever():
    model, plain, family, batch = setting("updn")
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    step(model, family, batch, LAYERS["updn"])
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == hooks
    with pytest.raises(ValueError, match="input_ids"):
        Forward(model, family, batch | {"input_ids": None}, Needs([(FULL, "logits")]))
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == hooks
    assert step(model, plain, batch, LAYERS["updn"])[0].shape == (7, 6)


def test_a_column_of_another_length_is_refused():
    model, _, family, batch = setting("updn")
    with pytest.raises(ValueError, match=r"column 'same_image' has 2 entries, the batch 7 rows; give one for each"):
        Forward(model, family, batch | {"same_image": [0, 0]}, Needs([(FULL, "logits")]))
