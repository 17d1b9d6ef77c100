"""The toy model of the golden numbers of VisFIS, and a Forward of it."""

from __future__ import annotations

import torch
from torch import nn
from toy_vqa import TOY_FAMILY, ToyVQA

from hf_guidance.forward import Forward

NAMES = ("Wv", "Wq", "u", "Wo", "Wc")


class GoldenToy(ToyVQA):
    """With the parameters of a case."""

    def __init__(self, case):
        super().__init__()
        for name in NAMES:
            self.register_parameter(name, nn.Parameter(getattr(case, f"model_{name}")))

    def gradients(self, value):
        parameters = [getattr(self, name) for name in NAMES]
        return torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True, retain_graph=True)


def batch_of(case, **columns):
    return {
        "visual_feats": case.objs,
        "question": case.question,
        "labels": case.answers,
        "target": case.answers.argmax(1),
        "importance": case.human_scores,
        **columns,
    }


def forward_of(case, needs, **columns):
    model = GoldenToy(case)
    return model, Forward(model, TOY_FAMILY, batch_of(case, **columns), needs)
