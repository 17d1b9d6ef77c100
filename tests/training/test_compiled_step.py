"""torch_compile compiles the guided step: what it computes is what the eager step computes, or it is refused by name."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from compiled_setting import FINAL, INPUT, environment, parts_of, step_of  # noqa: F401  # a fixture of every test
from forks import ranks
from peft import LoraConfig, get_peft_model
from tiny import fresh_model, tiny_family
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hf_guidance import Guidance, with_annotated_fraction
from hf_guidance.attributions import IntegratedGradients
from hf_guidance.objectives import Energy, RandomSufficiency
from hf_guidance.training.compiled import steps as steps_module
from hf_guidance.training.compiled.graph import StepGraph
from hf_guidance.training.compiled.parts import StepParts
from hf_guidance.training.compiled.settings import CompileSettings
from hf_guidance.training.compiled.steps import run_graph


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
def test_inductor_computes_the_same():
    """Compiles for a minute and more."""
    error, value, buffers = compared("resnet", INPUT, "inductor", True)
    assert error < 1e-9
    assert max(value, buffers) < 1e-9


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
    plain = {"optim": "sgd", "max_grad_norm": 0.0}  # a gradient of another scale is a step of another length
    for settings in (plain, plain | {"torch_compile_backend": "eager"}):
        torch.manual_seed(0)
        lora = LoraConfig(target_modules=["q_proj", "query"], init_lora_weights=False, modules_to_save=["classifier"])
        model = get_peft_model(model_of("vit"), lora)
        start = torch.cat([p.detach().flatten() for p in (*model.parameters(), *model.buffers())])
        found.append(trained(trainer_of(model, INPUT, max_steps=4, **settings)))
    (expected, logs, _), (weights, entries, calls) = found
    assert len(calls) >= 2
    for one, two in zip(logs, entries, strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    assert (weights - expected).norm() < 1e-3 * (expected - start).norm()


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
