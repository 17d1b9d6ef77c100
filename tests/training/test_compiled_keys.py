"""What tells one kind of compiled step from another, and that the same kind comes again."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from compiled_setting import FINAL, INPUT, parts_of, step_of
from peft import LoraConfig, get_peft_model
from tiny import fresh_model, tiny_family
from torch import nn

from hf_guidance import Guidance
from hf_guidance.objectives import Objective, TaskLoss
from hf_guidance.training.compiled import steps as steps_module
from hf_guidance.training.compiled.key import differing, step_key
from hf_guidance.training.compiled.parts import StepParts
from hf_guidance.training.compiled.settings import CompileSettings
from hf_guidance.training.compiled.steps import CompiledSteps


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


class Way(Enum):
    ONE = 1
    TWO = 2


@dataclass
class Settings:
    scale: float = 1.0


@dataclass(slots=True)
class Slots:
    scale: float = 1.0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"default": 1.0}, {"default": 2.0}),
        ([1.0], [2.0]),
        ({"one"}, {"two"}),
        (np.float64(1), np.float64(2)),
        (np.ones(2), np.zeros(2)),
        (Way.ONE, Way.TWO),
        ((1, [{"a": 1}]), (1, [{"a": 2}])),
        (Settings(1.0), Settings(2.0)),
        (Slots(1.0), Slots(2.0)),
        (SimpleNamespace(config=Settings(1.0)), SimpleNamespace(config=Settings(2.0))),
        (partial(torch.clamp, min=0), partial(torch.clamp, min=1)),
        (torch.relu, torch.tanh),
        (1, 1.0),
    ],
)
def test_a_key_holds_the_plain_data_of_modules_and_configs(before, after):
    model = fresh_model("vit")
    for holder in (model.classifier, model.config):
        keys = []
        for value in (before, copy.deepcopy(before), after):
            holder.held = value
            keys.append(step_key(model, FINAL, parts_of()))
        assert keys[0] == keys[1]
        assert hash(keys[0]) == hash(keys[1])
        assert keys[0] != keys[2]
        del holder.held


def test_a_key_tells_other_hooks_and_buffers():
    model = fresh_model("resnet")
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    keys = [step_key(model, FINAL, parts_of())]
    for put in ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"):
        for _ in range(2):
            handle = getattr(norm, put)(lambda *_: None)
            keys.append(step_key(model, FINAL, parts_of()))
            handle.remove()
    assert step_key(model, FINAL, parts_of()) == keys[0]
    norm.running_mean = norm.running_mean.float()
    keys.append(step_key(model, FINAL, parts_of()))
    assert len(set(keys)) == len(keys) == 8


def test_a_key_tells_what_an_adapter_does():
    model = get_peft_model(fresh_model("vit"), LoraConfig(target_modules=["q_proj", "query"]))
    layer = next(module for module in model.modules() if isinstance(getattr(module, "scaling", None), dict))
    keys = [step_key(model, FINAL, parts_of())]
    layer.scaling["default"] *= 5
    keys.append(step_key(model, FINAL, parts_of()))
    layer.merge()
    keys.append(step_key(model, FINAL, parts_of()))
    assert len(set(keys)) == 3


@pytest.mark.parametrize("kind", ["vit", "timm_vit", "convnext", "swin", "resnet"])
def test_the_same_kind_comes_again_after_a_step(kind):
    model, step = fresh_model(kind).train(), step_of(tiny_family(kind), INPUT)
    step(model, parts_of())[0].backward()
    first = step_key(model, INPUT, parts_of())
    step(model, parts_of(seed=1))[0].backward()
    assert step_key(model, INPUT, parts_of(seed=1)) == first


@dataclass(frozen=True)
class Holding(Objective):
    """Holds what has no hash."""

    held: list[str]

    def needs(self):
        return TaskLoss().needs()


def test_terms_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match=r"(?s)torch_compile=True: a term of.*has no hash.*give tuples and numbers"):
        step_key(fresh_model("vit"), Guidance(other=Holding(["a list"])), parts_of())


def test_what_tells_two_steps_apart_is_named():
    model, parts = fresh_model("vit"), parts_of()
    first = step_key(model, FINAL, parts)
    rest = replace(parts, annotated=parts.annotated | {"slot": [1, 0, 0], "row": [2, 1, 0]})
    assert differing(first, step_key(model, FINAL, rest)) == "columns 'row', 'slot' of the batch"
    assert differing(first, step_key(model, INPUT, parts)) == "the terms"
    assert (
        differing(first, step_key(model.train(), FINAL, parts))
        == "'training' of a ViTForImageClassification of the model"
    )
    model.eval().register_forward_hook(lambda *_: None)
    assert differing(step_key(model, FINAL, parts), first) == "hooks of a ViTForImageClassification"


def test_steps_that_are_never_alike_are_warned_of_with_what_differs(monkeypatch):
    said = []
    monkeypatch.setattr(steps_module.logger, "warning_once", said.append, raising=False)
    model, steps, parts = fresh_model("vit"), CompiledSteps(CompileSettings("eager")), parts_of()
    for number in range(31):
        steps.graph_of(model, FINAL, replace(parts, annotated=parts.annotated | {"answer": [number, 1]}), None)
    assert not said
    steps.graph_of(model, FINAL, replace(parts, annotated=parts.annotated | {"answer": [0, 0]}), None)
    assert re.search(r"32 steps.*none was compiled.*differ in column 'answer' of the batch\. Lists.*smaller", said[0])


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
