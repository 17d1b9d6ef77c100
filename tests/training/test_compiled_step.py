"""torch_compile compiles the guided step: what it computes is what the eager step computes, or it is refused by name."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import TorchDynamoPlugin
from forks import ranks
from peft import LoraConfig, get_peft_model
from tiny import fresh_model, make_batch, tiny_family
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hf_guidance import Guidance, GuidedTrainer, Term, with_annotated_fraction
from hf_guidance.attributions import GradCAM, InputXGradient, IntegratedGradients
from hf_guidance.forward import Forward
from hf_guidance.objectives import Energy, Objective, RandomSufficiency, TaskLoss
from hf_guidance.training.compiled import graph as graph_module
from hf_guidance.training.compiled import steps as steps_module
from hf_guidance.training.compiled.graph import StepGraph
from hf_guidance.training.compiled.key import step_key
from hf_guidance.training.compiled.parts import StepParts
from hf_guidance.training.compiled.settings import CompileSettings, dense_convolution, refuse_with_compiled_step
from hf_guidance.training.compiled.steps import CompiledSteps, run_graph

INPUT = Guidance(energy=Term(Energy(InputXGradient("input")), 2.0))
FINAL = Guidance(energy=Term(Energy(GradCAM("final")), 2.0))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """TrainingArguments writes these variables, and every later Accelerator reads them."""
    for name in ("ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_DYNAMO_MODE", "ACCELERATE_DYNAMO_USE_DYNAMIC"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def step_of(family, guidance):
    def step(model, parts):
        found = [parts.annotated, parts.rest]
        forwards = [b and Forward(model, family, b, guidance.needs(annotated=b is found[0])) for b in found]
        return guidance(*forwards)

    return step


def parts_of(images=3, dtype=torch.float64, seed=0):
    batch = make_batch(images, seed=seed)
    rows = {"row": list(range(images)), "slot": [0] * images, "annotated": [True] * images}
    return StepParts(batch | rows | {"pixel_values": batch["pixel_values"].to(dtype)}, None, list(range(images)))


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return [p.grad for p in model.parameters()]


def compared(name, guidance, backend, train, dtype=torch.float64):
    """Eager and compiled: largest error of the gradients, of the loss and the logs, and of the buffers afterwards."""
    model, other = (fresh_model(name).to(dtype) for _ in range(2))
    step, example, parts = step_of(tiny_family(name), guidance), parts_of(dtype=dtype), parts_of(dtype=dtype, seed=5)
    step(other, parts)  # finds heads and layouts
    for each in (model, other):
        each.train(train)
    graph = StepGraph(step, other, example, CompileSettings(backend).compiler)
    loss, logs = step(model, parts)
    ours, entries = graph(other, parts)
    error = 0.0
    for one, two in zip(gradients(model, loss), gradients(other, ours), strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            error = max(error, float((one - two).abs().max() / one.abs().max().clamp_min(1e-6)))
    assert set(logs) == set(entries)
    values = [float((logs[key] - entries[key]).abs()) for key in logs] + [float((loss - ours).detach().abs())]
    buffers = [float((a - b).abs().max()) for a, b in zip(model.buffers(), other.buffers(), strict=True)]
    return error, max(values), max(buffers, default=0.0)


@pytest.mark.parametrize(
    ("name", "guidance", "backend", "train"),
    [
        ("vit", INPUT, "eager", False),
        ("timm_vit", INPUT, "eager", False),
        ("convnext", FINAL, "aot_eager", False),
        ("convnext", INPUT, "eager", False),
        ("resnet", INPUT, "aot_eager", True),
        ("resnet", Guidance(energy=Energy(IntegratedGradients(steps=2))), "eager", True),
    ],
)
def test_the_compiled_step_is_the_eager_step(name, guidance, backend, train):
    error, value, buffers = compared(name, guidance, backend, train)
    assert error < 1e-9
    assert value < 1e-12
    assert buffers < 1e-12  # BatchNorm's statistics moved alike


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_inductor_computes_the_same(dtype, limit):
    """Compiles for a minute."""
    error, value, buffers = compared("resnet", INPUT, "inductor", True, dtype)
    assert error < limit
    assert max(value, buffers) < limit


def trained(trainer):
    calls, inner = [], steps_module.run_graph

    def spy(model, graph, parts):
        calls.append(graph)
        return inner(model, graph, parts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hf_guidance.training.compiled.trainer.run_graph", spy)
        trainer.train()
    model = trainer.accelerator.unwrap_model(trainer.model)
    logs = [
        [v for k, v in sorted(e.items()) if "loss" in k or "norm" in k]
        for e in trainer.state.log_history
        if "loss" in e
    ]
    return torch.cat([p.detach().flatten() for p in (*model.parameters(), *model.buffers())]), logs, calls


@pytest.mark.parametrize(
    ("kind", "guidance", "settings"),
    [
        ("resnet", INPUT, {"gradient_accumulation_steps": 2, "max_grad_norm": 0.1}),
        ("vit", INPUT, {"bf16": True}),
        ("resnet", FINAL, {"guide_every": 2, "frozen_batch_norm": True}),
    ],
)
def test_training_goes_the_same_way(trainer_of, model_of, kind, guidance, settings):
    eager = trainer_of(model_of(kind), guidance, max_steps=5, **settings)
    expected, logs, none = trained(eager)
    compiled = trainer_of(model_of(kind), guidance, max_steps=5, torch_compile_backend="eager", **settings)
    found, entries, calls = trained(compiled)
    assert not none
    assert len(calls) >= 2
    start = torch.cat([p.detach().flatten() for p in (*model_of(kind).parameters(), *model_of(kind).buffers())])
    moved = (expected - start).norm()
    assert moved > 0
    assert (found - expected).norm() < 1e-4 * moved
    for one, two in zip(logs, entries, strict=True):
        assert two == pytest.approx(one, rel=1e-4, abs=1e-6)
    assert not hasattr(compiled.model_wrapped, "_orig_mod")  # evaluated and saved as it was given
    assert compiled.evaluate()["eval_loss"] == pytest.approx(eager.evaluate()["eval_loss"], rel=1e-4)


def test_adapters_are_trained_by_the_compiled_step(trainer_of, model_of):
    found = []
    for settings in ({}, {"torch_compile_backend": "eager"}):
        torch.manual_seed(0)
        lora = LoraConfig(target_modules=["q_proj", "query"], init_lora_weights=False, modules_to_save=["classifier"])
        model = get_peft_model(model_of("vit"), lora)
        found.append(trained(trainer_of(model, INPUT, max_steps=4, **settings)))
    (expected, _, _), (weights, _, calls) = found
    assert calls
    assert torch.allclose(weights, expected, atol=1e-6)


def test_images_without_annotation_are_compiled_too(trainer_of, model_of, digits):
    rows = with_annotated_fraction(digits["train"], 0.5, seed=0)
    trainer = trainer_of(model_of("vit"), INPUT, rows=rows, torch_compile_backend="eager")
    trainer.model.train()
    trainer._checks = SimpleNamespace(open_terms=lambda guidance: [])  # else judged first, by eager steps
    batch = trainer.data_collator([rows[i] for i in range(8)])
    parts = trainer._training_parts(trainer.model, batch, INPUT)
    assert parts.rest is not None
    eager = gradients(trainer.model, INPUT(*trainer._forwards(trainer.model, INPUT, parts))[0])
    assert trainer._by_graph(trainer.model, INPUT, parts) is None  # the first of its kind
    loss, _ = trainer._by_graph(trainer.model, INPUT, parts)
    for one, two in zip(eager, gradients(trainer.model, loss), strict=True):
        assert torch.equal(one, two)


def test_dropout_is_drawn_anew():
    model = fresh_model("vit")
    step, parts = step_of(tiny_family("vit"), FINAL), parts_of()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    graph = StepGraph(step, model.train(), parts, CompileSettings("eager").compiler)
    torch.manual_seed(0)
    losses = [graph(model, parts)[0].item() for _ in range(3)]
    assert len(set(losses)) == 3
    torch.manual_seed(0)
    assert graph(model, parts)[0].item() == losses[0]


def test_masks_are_drawn_anew_and_by_the_seed_of_torch():
    model, guidance = fresh_model("vit"), Guidance(s=RandomSufficiency())
    step, parts = step_of(tiny_family("vit"), guidance), parts_of()
    graph = StepGraph(step, model, parts, CompileSettings("eager").compiler)
    losses = []
    for compute in (step, graph):
        torch.manual_seed(0)
        losses += [[compute(model, parts)[0].item() for _ in range(2)]]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert losses[0][0] != losses[0][1]


def weights_of_two(folder):
    rank = int(os.environ["RANK"])
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model = DistributedDataParallel(fresh_model("resnet"))
    whole, step = parts_of(4), step_of(tiny_family("resnet"), INPUT)
    mine = {name: value[2 * rank : 2 * rank + 2] for name, value in whole.annotated.items()} | {"row": [0, 1]}
    parts = StepParts(mine, None, [0, 1])
    graph = StepGraph(step, model.module, parts, CompileSettings("eager").compiler)
    loss, _ = run_graph(model, graph, parts)
    loss.backward()
    torch.save([p.grad for p in model.parameters()], f"{folder}/{rank}.pt")


def test_two_processes_average_the_gradients_of_compiled_steps(tmp_path):
    ranks(2, lambda: weights_of_two(tmp_path))
    model = fresh_model("resnet")
    expected = gradients(model, step_of(tiny_family("resnet"), INPUT)(model, parts_of(4))[0])
    for rank in range(2):
        for one, two in zip(expected, torch.load(tmp_path / f"{rank}.pt"), strict=True):
            assert torch.allclose(one, two, atol=1e-9)


def test_a_wrong_label_is_named():
    model = fresh_model("resnet")
    step, parts = step_of(tiny_family("resnet"), FINAL), parts_of()
    graph = StepGraph(step, model, parts, CompileSettings("eager").compiler)
    wrong = replace(parts, annotated=parts.annotated | {"labels": torch.tensor([0, 1, 7])})
    with pytest.raises(ValueError, match=r"labels hold a value that is not allowed: classes are 0 to 2"):
        graph(model, wrong)


@dataclass(frozen=True)
class Drawing(Objective):
    """Draws in Python, reads a number of a tensor, or uses a tensor from elsewhere."""

    how: str = "draws"

    def needs(self):
        return TaskLoss().needs()

    def __call__(self, forward):
        values = forward.logits().square().mean(1)
        if self.how == "draws":
            return values * random.random()
        if self.how == "reads":
            return values if values.sum() > 0 else -values
        return values * ELSEWHERE


ELSEWHERE = torch.ones(())


@pytest.mark.parametrize(
    ("how", "said"),
    [("draws", "drawn in Python"), ("reads", "GuardOnDataDependent|DataDependent"), ("else", "Fake|fake")],
)
def test_what_a_graph_would_fix_is_refused(how, said):
    model, guidance = fresh_model("resnet"), Guidance(FINAL, other=Drawing(how))
    steps, step = CompiledSteps(CompileSettings("eager")), step_of(tiny_family("resnet"), guidance)
    assert steps.graph_of(model, guidance, parts_of(), step) is None
    with pytest.raises(ValueError, match=rf"(?s)step of ResNetFor.*{said}.*Leave torch_compile off"):
        steps.graph_of(model, guidance, parts_of(), step)


def test_a_compiler_that_fails_is_named(monkeypatch):
    def fails(self, graph, inputs):
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(CompileSettings, "compiler", fails)
    monkeypatch.setattr(graph_module, "make_fx", lambda *_, **__: lambda *inputs: None)
    model, steps = fresh_model("resnet"), CompiledSteps(CompileSettings())
    steps.graph_of(model, FINAL, parts_of(), None)
    with pytest.raises(
        ValueError, match=r"'inductor' \(RuntimeError: no compiler here\).*C\+\+ compiler.*torch_compile off"
    ):
        steps.graph_of(model, FINAL, parts_of(), None)


def test_a_key_holds_what_python_decides_by():
    model = fresh_model("vit").train()
    dropout = next(module for module in model.modules() if isinstance(module, nn.Dropout))
    parts = parts_of()

    def key(guidance=FINAL, parts=parts):
        return step_key(model, guidance, parts)

    first = key()
    assert first == key(parts=parts_of(seed=3))
    others = [key(guidance=INPUT), key(parts=parts_of(2)), key(parts=StepParts(None, parts.annotated, []))]
    for name, value in (("annotated", [True, False, True]), ("labels", parts.annotated["labels"].int())):
        others.append(key(parts=StepParts(parts.annotated | {name: value}, None, [])))
    dropout.p = 0.3
    others.append(key())
    model.classifier.weight.requires_grad_(False)
    others.append(key())
    others.append(step_key(model.eval(), FINAL, parts))
    handle = model.register_forward_hook(lambda *_: None)
    others.append(key())
    handle.remove()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        others.append(key())
    assert len({first, *others}) == 1 + len(others)


def test_terms_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match=r"(?s)torch_compile=True: a term of.*has no hash.*give tuples and numbers"):
        step_key(fresh_model("vit"), Guidance(other=Drawing(how=["draws"])), parts_of())


def test_kinds_beyond_the_limit_run_eagerly_and_say_so(monkeypatch):
    said = []
    monkeypatch.setattr(steps_module, "MOST_GRAPHS", 1)
    monkeypatch.setattr(steps_module, "StepGraph", lambda *_: object())
    monkeypatch.setattr(steps_module.logger, "warning_once", said.append, raising=False)
    model, steps = fresh_model("vit"), CompiledSteps(CompileSettings("eager"))
    found = [steps.graph_of(model, FINAL, parts_of(images), None) for images in (2, 2, 2, 3, 3)]
    assert [graph is None for graph in found] == [True, False, False, True, True]
    assert said
    assert "many kinds" in said[0]


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


def test_a_compiled_model_is_refused_with_what_to_do(trainer_of, model_of):
    with pytest.raises(ValueError, match=r"a compiled model.*no double backward.*torch_compile=True"):
        trainer_of(torch.compile(model_of("vit")), FINAL)
