"""GuidanceArguments(fused_kernels=True): training steps get compiled double backwards, and learn the same."""

from __future__ import annotations

import pytest
import torch
from transformers.hf_argparser import HfArgumentParser

from hf_guidance import Guidance, GuidanceArguments, Term
from hf_guidance.attributions import InputXGradient
from hf_guidance.objectives import Energy
from hf_guidance.second_order import compiling
from hf_guidance.training.arguments import StepOptions

ENERGY = Guidance(energy=Term(Energy(InputXGradient(layer="input")), weight=2.0))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("convnext", {}), ("convnext", {"bf16": True}), ("vit", {}), ("vit", {"gradient_checkpointing": True})],
    ids=str,
)
def test_a_training_is_the_same_with_and_without(trainer_of, model_of, monkeypatch, kind, settings):
    """The formulas run uncompiled here, which says whether the option reaches them."""
    ran = set()
    monkeypatch.setattr(compiling, "_state", compiling._State())
    monkeypatch.setattr(
        compiling, "_compile", lambda formula, _: lambda *t: (ran.add(formula.name), formula.compute(*t))[1]
    )
    weights = []
    for on in (False, True):
        trainer = trainer_of(model_of(kind), ENERGY, max_steps=2, fused_kernels=on, **settings)
        trainer.train()
        weights.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
        if not on:
            assert not ran
    # Under autocast LayerNorm is the ordinary one, in checkpointed blocks everything; heads and stems lie outside of those.
    assert ("double backward of GELU" in ran) == ("gradient_checkpointing" not in settings)
    assert ("double backward of LayerNorm" in ran) == ("bf16" not in settings)
    assert (weights[0] - weights[1]).norm() <= (1e-2 if "bf16" in settings else 1e-4) * weights[0].norm()


def test_the_option_is_checked_and_the_command_line_has_it(tmp_path):
    assert not StepOptions.of(GuidanceArguments(str(tmp_path))).fused_kernels
    (args,) = HfArgumentParser(GuidanceArguments).parse_args_into_dataclasses(
        ["--output_dir", str(tmp_path), "--fused_kernels"]
    )
    assert StepOptions.of(args).fused_kernels
    with pytest.raises(ValueError, match=r"fused_kernels='yes': give True"):
        GuidanceArguments(str(tmp_path), fused_kernels="yes")
