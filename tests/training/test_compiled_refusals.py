"""When a step is compiled, and what a compiled step is refused for."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.utils import TorchDynamoPlugin
from compiled_setting import FINAL, INPUT, environment, parts_of, step_of  # noqa: F401  # a fixture of every test
from tiny import fresh_model, tiny_family
from torch import nn
from transformers import BeitConfig, BeitForImageClassification, Trainer

from hf_guidance import Guidance, GuidedTrainer
from hf_guidance.attributions import AverageEffect, KernelSHAP
from hf_guidance.families import family_of
from hf_guidance.objectives import Energy, Objective, TaskLoss
from hf_guidance.training.compiled import graph as graph_module
from hf_guidance.training.compiled import steps as steps_module
from hf_guidance.training.compiled.key import step_key
from hf_guidance.training.compiled.settings import (
    CompileSettings,
    dense_convolution,
    refuse_terms,
    refuse_with_compiled_step,
)
from hf_guidance.training.compiled.steps import CompiledSteps


@dataclass(frozen=True)
class Drawing(Objective):
    """Draws or counts in Python, reads a number of a tensor, or uses a tensor from elsewhere."""

    how: str = "draws"

    def needs(self):
        return TaskLoss().needs()

    def __call__(self, forward):
        values = forward.logits().square().mean(1)
        if self.how in DRAWN:
            return values * DRAWN[self.how]()
        if self.how == "reads":
            return values if values.sum() > 0 else -values
        return values * ELSEWHERE


ELSEWHERE, OWN, COUNT = torch.ones(()), np.random.default_rng(0), count()
DRAWN = {
    "draws": random.random,
    "own": OWN.random,
    "python": random.Random(0).random,
    "tensor": lambda: torch.tensor(OWN.random()),
    "counts": lambda: next(COUNT),
}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("draws", "drawn in Python"),
        ("own", "a generator of its own"),
        ("python", "a generator of its own"),
        ("tensor", "a tensor of other numbers.*a generator of its own"),
        ("counts", "or counts"),
        ("reads", "GuardOnDataDependent|DataDependent"),
        ("else", r"neither of the batch nor a weight.*make it a buffer"),
    ],
)
def test_what_a_graph_would_fix_is_refused(how, said):
    model, guidance = fresh_model("resnet"), Guidance(FINAL, other=Drawing(how))
    steps, step = CompiledSteps(CompileSettings("eager")), step_of(tiny_family("resnet"), guidance)
    assert steps.graph_of(model, guidance, parts_of(), step) is None
    with pytest.raises(ValueError, match=rf"(?s)step of ResNetFor.*{said}.*Leave torch_compile off"):
        steps.graph_of(model, guidance, parts_of(), step)


class Averaging(nn.Module):
    """Replaces its buffer, or writes into it; reads an index from elsewhere."""

    def __init__(self, replaces=False):
        super().__init__()
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.weight, self.index, self.replaces = (
            nn.Parameter(torch.ones((), dtype=torch.float64)),
            torch.tensor([1, 0, 1]),
            replaces,
        )

    def forward(self, parts):
        now = parts.annotated["pixel_values"].mean((1, 2, 3))[self.index]
        if self.replaces:
            self.mean = 0.9 * self.mean + now.mean()
        else:
            self.mean.mul_(0.9).add_(now.mean())
        return (self.weight * now).square().mean(), {}


def test_a_buffer_that_is_replaced_is_refused_by_name():
    model, steps = Averaging(replaces=True), CompiledSteps(CompileSettings("eager"))
    assert steps.graph_of(model, FINAL, parts_of(), step_of_module) is None
    with pytest.raises(ValueError, match=r"buffer 'mean' of the model is replaced in a step.*mean\.copy_"):
        steps.graph_of(model, FINAL, parts_of(), step_of_module)


def step_of_module(module, parts):
    return module(parts)


def test_an_index_from_elsewhere_is_a_constant_until_it_is_written():
    model, other = Averaging(), Averaging()
    graph = graph_module.StepGraph(step_of_module, model, parts_of(), CompileSettings("eager").compiler)
    first = step_key(model, FINAL, parts_of())
    assert torch.equal(graph(model, parts_of(seed=1))[0], other(parts_of(seed=1))[0])
    assert torch.equal(model.mean, other.mean)
    assert step_key(model, FINAL, parts_of()) == first
    model.index[0] = 2
    assert step_key(model, FINAL, parts_of()) != first
    with pytest.raises(ValueError, match=r"shape \(3,\) and dtype torch.int64 was written.*make it a buffer"):
        graph(model, parts_of())


def test_beit_whose_index_is_cached_elsewhere_is_compiled():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = BeitConfig(image_size=(32, 64), patch_size=16, use_relative_position_bias=True, num_labels=3, **sizes)
    model = BeitForImageClassification(config).double().eval()
    step = step_of(family_of(model), FINAL)
    expected, _ = step(model, parts_of())
    graph = graph_module.StepGraph(step, model, parts_of(seed=1), CompileSettings("eager").compiler)
    assert graph(model, parts_of())[0].item() == pytest.approx(expected.item(), rel=1e-12)


def test_a_compiler_that_fails_is_named(monkeypatch):
    def fails(self, graph, inputs):
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(CompileSettings, "compiler", fails)
    monkeypatch.setattr(graph_module, "recorded", lambda *_: (None, []))
    model, steps = fresh_model("resnet"), CompiledSteps(CompileSettings())
    steps.graph_of(model, FINAL, parts_of(), None)
    with pytest.raises(
        ValueError, match=r"'inductor' \(RuntimeError: no compiler here\).*C\+\+ compiler.*torch_compile off"
    ):
        steps.graph_of(model, FINAL, parts_of(), None)


def test_texts_of_questions_make_no_kinds(trainer_of, model_of):
    trainer = trainer_of(model_of("vit"), FINAL, torch_compile_backend="eager")
    trainer._checks = SimpleNamespace(open_terms=lambda guidance: [])  # else judged first, by eager steps
    kept, parts = [], parts_of(dtype=torch.float32)
    trainer._steps.graph_of = lambda module, guidance, parts, step: kept.append(step_key(module, guidance, parts))
    for text in "ab":
        given = parts.annotated | {"question": [text] * 3, "question_id": (text,) * 3}
        trainer._by_graph(trainer.model, FINAL, replace(parts, annotated=given))
    assert kept[0] == kept[1]
    text_input = replace(parts, annotated={"question": ["a"], "question_id": [1]}).without_texts(("question",))
    assert set(text_input.annotated) == {"question", "question_id"}  # the model reads texts; numbers are no texts


def test_coalitions_are_refused_when_the_trainer_is_made(trainer_of, model_of):
    for method in (KernelSHAP(layer="final"), AverageEffect(layer="final")):
        with pytest.raises(ValueError, match=r"with the term 'shap': the coalitions of KernelSHAP.*such as Gradient"):
            trainer_of(model_of("vit"), Guidance(FINAL, shap=Energy(method)), torch_compile_backend="eager")
    refuse_terms(Guidance(one=Energy(AverageEffect(layer="final", samples=2))))  # one place is drawn at once


def test_dense_convolutions_are_warned_of(monkeypatch):
    assert dense_convolution(fresh_model("vit")) is None
    assert dense_convolution(fresh_model("convnext")) is None
    said = []
    monkeypatch.setattr(steps_module, "StepGraph", lambda *_: object())
    monkeypatch.setattr(steps_module.logger, "warning_once", said.append, raising=False)
    for name in ("vit", "resnet"):
        steps = CompiledSteps(CompileSettings("eager"))
        for _ in range(2):
            steps.graph_of(fresh_model(name), FINAL, parts_of(), None)
    assert len(said) == 1
    assert "embedder" in said[0]
    assert "slower" in said[0]


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ({"backend": "cudagraphs"}, r"torch_compile_backend='cudagraphs'.*'inductor', 'aot_eager', 'eager'"),
        ({"mode": "reduce-overhead"}, r"'reduce-overhead' records CUDA graphs.*max-autotune-no-cudagraphs"),
        ({"backend": "aot_eager", "mode": "max-autotune-no-cudagraphs"}, r"one of inductor's, not of 'aot_eager'"),
        ({"dynamic": True}, r"dynamic shapes.*for each shape"),
        ({"use_regional_compilation": True}, r"use_regional_compilation.*no double backward"),
    ],
)
def test_settings_of_the_compiler_that_fail_are_refused(plugin, message):
    with pytest.raises(ValueError, match=message):
        CompileSettings.of(TorchDynamoPlugin(**({"backend": "inductor"} | plugin)))


def test_no_compiler_is_no_setting():
    assert CompileSettings.of(TorchDynamoPlugin(backend="no")) is None
    assert CompileSettings.of(None) is None


class OwnTask(GuidedTrainer):
    def task_loss(self, forward):
        return super().task_loss(forward) * (1 + self.state.global_step)


@pytest.mark.parametrize(
    ("settings", "cls", "message"),
    [
        ({"gradient_checkpointing": True}, GuidedTrainer, r"gradient checkpointing: its second forward"),
        ({}, OwnTask, r"torch_compile=True with OwnTask.task_loss.*Objective"),
    ],
)
def test_what_does_not_go_with_a_compiled_step_is_refused(trainer_of, model_of, settings, cls, message):
    with pytest.raises(ValueError, match=message):
        trainer_of(model_of("vit"), FINAL, cls=cls, torch_compile_backend="eager", **settings)


def test_checkpointing_that_is_switched_on_later_is_refused():
    model, steps = fresh_model("vit"), CompiledSteps(CompileSettings("eager"))
    model.train().gradient_checkpointing_enable({"use_reentrant": False})
    assert steps.graph_of(model, FINAL, parts_of(), None) is None
    with pytest.raises(ValueError, match=r"gradient checkpointing: its second forward.*turn it off"):
        steps.graph_of(model, FINAL, parts_of(), None)


@pytest.mark.parametrize(
    ("accelerator", "message"),
    [({"mixed_precision": "fp16"}, "fp16.*bf16=True"), ({"state": SimpleNamespace(fsdp_plugin=object())}, "FSDP")],
)
def test_half_precision_and_sharding_are_refused(accelerator, message):
    given = SimpleNamespace(**({"state": SimpleNamespace()} | accelerator))
    with pytest.raises(ValueError, match=message):
        refuse_with_compiled_step(SimpleNamespace(), nn.Linear(1, 1), given)


def test_what_accelerate_launch_asks_for_compiles_the_step(trainer_of, model_of, monkeypatch):
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    trainer = trainer_of(model_of("vit"), FINAL)
    assert trainer._steps.settings == CompileSettings("eager")
    assert str(trainer.accelerator.state.dynamo_plugin.backend.value).lower() == "no"


def test_every_trainer_of_the_same_arguments_compiles_and_a_plain_one_as_ever(trainer_of, model_of):
    first = trainer_of(model_of("vit"), FINAL, torch_compile_backend="eager")
    second = GuidedTrainer(model_of("vit"), first.args, train_dataset=first.train_dataset, guidance=FINAL)
    plain = Trainer(model_of("vit"), first.args, train_dataset=first.train_dataset)
    backends = [t.accelerator.state.dynamo_plugin.backend.value.lower() for t in (first, second, plain)]
    assert backends == ["no", "no", "eager"]
    assert first._steps.settings == second._steps.settings == CompileSettings("eager")
    first.create_accelerator_and_postprocess()  # as a search of hyperparameters does
    assert first.accelerator.state.dynamo_plugin.backend.value.lower() == "no"


def test_a_compiled_model_is_refused_with_what_to_do(trainer_of, model_of):
    with pytest.raises(ValueError, match=r"a compiled model.*no double backward.*torch_compile=True"):
        trainer_of(torch.compile(model_of("vit")), FINAL)
