"""A tiny UpDn in float64, and boxes for it."""

from __future__ import annotations

import torch

from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering

torch.set_num_threads(1)

BATCH, OBJECTS, DIMS, CLASSES, WORDS = 3, 5, 4, 6, 8


def tiny_updn(**changes):
    """In eval mode; every parameter moved, so that none is at a value that hides a path."""
    sizes = {
        "vocab_size": WORDS + 1, "word_size": 5, "hidden_size": 7, "visual_feat_dim": DIMS, "classifier_size": 9,
        "num_labels": CLASSES,
    }  # fmt: skip
    torch.manual_seed(0)
    return UpDnForQuestionAnswering(UpDnConfig(**sizes | changes)).double().eval()


def tiny_inputs(batch=BATCH, seed=0):
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(0, WORDS, (batch, 6), generator=generator)
    input_ids[:, :2] = WORDS
    features = torch.randn(batch, OBJECTS, DIMS, generator=generator, dtype=torch.float64)
    return input_ids, features


def tiny_labels(batch=BATCH):
    return torch.rand(batch, CLASSES, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
