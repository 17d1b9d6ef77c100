"""A captioner by the compiled step: as by the eager one, and wrong words are named behind the graph."""

from __future__ import annotations

import pytest
import torch
from tiny import parameter_gradients
from toy_captioners import MADE, WORDS, batch_of

from hf_guidance import Guidance
from hf_guidance.attributions import InputXGradient, WordLogit
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.objectives import CaptionLoss, Energy
from hf_guidance.training.compiled.graph import StepGraph
from hf_guidance.training.compiled.parts import StepParts
from hf_guidance.training.compiled.settings import CompileSettings


def test_captioners_are_compiled_and_wrong_words_are_named():
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
