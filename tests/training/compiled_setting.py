"""Steps and batches for the tests of compiled steps, and what TrainingArguments leave behind put back."""

from __future__ import annotations

import pytest
import torch
from tiny import make_batch

from hf_guidance import Guidance, Term
from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.forward import Forward
from hf_guidance.objectives import Energy
from hf_guidance.training.compiled.parts import StepParts

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
