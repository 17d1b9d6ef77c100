"""transformers' own captioners: gradients of words on patches are those of one word at a time, and they train guided."""

import pytest
import torch
from tiny import explain, parameter_gradients, relative_error
from toy_captioners import IMAGES, KEYS, MADE, PATCH, SIZE, TIMES, WORDS, blip, encoder_decoder
from transformers import BlipForQuestionAnswering

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer
from hf_guidance.attributions import GradCAM, Gradient, InputXGradient, WordLogit
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.objectives import CaptionLoss, Energy
from hf_guidance.training.compiled.graph import StepGraph
from hf_guidance.training.compiled.parts import StepParts
from hf_guidance.training.compiled.settings import CompileSettings


def batch_of(name, **more):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, WORDS, (IMAGES, TIMES), generator=generator)
    row, slot, time = [0, 0, 1, 1, 1], [0, 1, 0, 1, 2], [0, 2, 0, 1, 3]
    labels = torch.cat([ids[:, 1:], torch.full((IMAGES, 1), 2)], 1)
    tokens = torch.stack([labels[row, time], torch.full((len(row),), -1)], 1)
    tokens[1, 1] = labels[0, 3]
    made = {
        "pixel_values": torch.rand(IMAGES, 3, SIZE, SIZE, generator=generator, dtype=torch.float64),
        KEYS[name]: ids, "labels": labels, "row": row, "slot": slot, "time": time, "target": tokens[:, 0],
        "word_tokens": tokens, "annotated": [True] * len(row),
        "importance": torch.rand(len(row), SIZE, SIZE, generator=generator, dtype=torch.float64).round(),
    }  # fmt: skip
    return made | more


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


def test_a_compiled_step_is_the_eager_step_and_names_wrong_words():
    name = "vit and gpt2"
    model, batch = MADE[name](), batch_of(name)
    method = InputXGradient(layer="input", target=WordLogit("sum"))
    family, guidance = family_of(model), Guidance(task=CaptionLoss(), energy=Energy(method))

    def step(model, parts):
        return guidance(Forward(model, family, parts.annotated, guidance.needs()))

    parts = StepParts(batch, None, [0, 1])
    expected = parameter_gradients(step(model, parts)[0], model)
    graph = StepGraph(step, model, parts, CompileSettings("eager").compiler)
    found = torch.autograd.grad(graph(model, parts)[0], list(model.parameters()), allow_unused=True)
    scale = max(gradient.abs().amax() for gradient in expected)
    assert scale > 0
    for one, two in zip(expected, found, strict=True):
        assert (one - (0.0 if two is None else two)).abs().amax() < 1e-10 * scale
    for column, value, message in [
        ("labels", WORDS, r"labels hold a token beyond 0 to 19"),
        ("labels", -100, r"the caption of an image has no word"),
        ("word_tokens", WORDS, r"'word_tokens' holds a larger token, and the model knows 20"),
        ("word_tokens", -1, r"at least one token each"),
    ]:
        wrong = batch | {column: torch.full_like(batch[column], value)}
        with pytest.raises(ValueError, match=message):
            graph(model, StepParts(wrong, None, [0, 1]))


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
