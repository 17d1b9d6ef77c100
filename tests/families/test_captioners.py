"""transformers' own captioners: gradients of words on patches are those of one word at a time, and they train guided."""

import pytest
import torch
from tiny import explain, parameter_gradients, relative_error
from toy_captioners import KEYS, MADE, PATCH, SIZE, batch_of, blip, encoder_decoder
from transformers import BlipForQuestionAnswering

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer
from hf_guidance.attributions import GradCAM, Gradient, InputXGradient, WordLogit
from hf_guidance.families import family_of
from hf_guidance.objectives import CaptionLoss, Energy


def alone(model, name, batch, layer, tokens):
    """Each word by a call and a backward of its own, hooks and all: (rows, ...) raw gradients of the layer."""
    found = []
    module = None if layer == "input" else model.get_submodule(layer)
    for index, (image, time) in enumerate(zip(batch["row"], batch["time"], strict=True)):
        pixels = batch["pixel_values"][image : image + 1].clone().requires_grad_()
        seen = []
        hook = module and module.register_forward_hook(lambda _, given, output, seen=seen: seen.append(output))
        logits = model(pixel_values=pixels, **{KEYS[name]: batch[KEYS[name]][image : image + 1]}).logits[0]
        if hook:
            hook.remove()
        words = [word for word in batch["word_tokens"][index].tolist() if word >= 0][: 1 if tokens == "first" else None]
        score = sum(logits[time + place, word] for place, word in enumerate(words))
        found.append(torch.autograd.grad(score, seen[0] if seen else pixels, create_graph=True)[0][0])
    return torch.stack(found)


@pytest.mark.parametrize("tokens", ["first", "sum"])
@pytest.mark.parametrize("layer", ["input", "mid1", "final"])
@pytest.mark.parametrize("name", MADE)
def test_gradients_are_those_of_one_word_at_a_time(name, layer, tokens):
    model, batch, target = MADE[name](), batch_of(name), WordLogit(tokens)
    family = family_of(model)
    method = Gradient(layer=layer, target=target)
    ours = explain(model, family, batch, method).gradient(layer, target)
    path = layer if layer == "input" else family.layers[layer]
    theirs = alone(model, name, batch, path, tokens)
    side = SIZE // PATCH
    expected = theirs if layer == "input" else theirs[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    assert ours.shape == expected.shape
    assert relative_error(ours, expected) < 1e-11
    assert expected.abs().amax() > 0
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = parameter_gradients((ours * weights).sum() + ours.square().sum(), model)
    wanted = parameter_gradients((expected * weights).sum() + expected.square().sum(), model)
    scale = max(gradient.abs().amax() for gradient in wanted)
    for first, second in zip(found, wanted, strict=True):
        assert (first - second).abs().amax() / scale < 1e-9


@pytest.mark.parametrize("name", MADE)
def test_maps_are_those_of_the_images(name):
    model, batch = MADE[name](), batch_of(name)
    for method in (GradCAM(layer="final", target=WordLogit()), InputXGradient(layer="input", target=WordLogit())):
        maps = explain(model, family_of(model), batch, method).attribution(method)
        side = SIZE // PATCH if method.layer == "final" else SIZE
        assert maps.shape == (5, side, side)
        assert torch.isfinite(maps).all()


@pytest.mark.parametrize("name", MADE)
def test_they_train_with_fused_attention_switched_off(name, tmp_path):
    model = MADE[name]("sdpa").float()
    rows = [
        {
            key: value.float() if torch.is_tensor(value) and value.is_floating_point() else value
            for key, value in b.items()
        }
        for b in [batch_of(name)]
    ]
    args = GuidanceArguments(
        str(tmp_path), report_to="none", use_cpu=True, max_steps=2, per_device_train_batch_size=1, save_strategy="no",
        remove_unused_columns=False, learning_rate=1e-3,
    )  # fmt: skip
    energy = Energy(GradCAM(layer="final", target=WordLogit()))
    trainer = GuidedTrainer(
        model, args, train_dataset=rows, data_collator=lambda given: dict(given[0]),
        guidance=Guidance(task=CaptionLoss(), energy=energy),
    )  # fmt: skip
    before = [parameter.clone() for parameter in model.parameters()]
    trainer.train()
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_generation_stays_as_it_is():
    """An explained step leaves no hook and no setting behind."""
    model = encoder_decoder()
    pixels = batch_of("vit and gpt2")["pixel_values"]
    said = model.generate(pixel_values=pixels, max_new_tokens=4, do_sample=False)
    explain(model, family_of(model), batch_of("vit and gpt2"), Gradient(target=WordLogit())).attribution(
        Gradient(target=WordLogit())
    )
    assert torch.equal(model.generate(pixel_values=pixels, max_new_tokens=4, do_sample=False), said)


def test_blip_for_questions_is_refused():
    with pytest.raises(ValueError, match=r"BlipForQuestionAnswering says no caption.*BlipForConditionalGeneration"):
        family_of(blip(kind=BlipForQuestionAnswering))
