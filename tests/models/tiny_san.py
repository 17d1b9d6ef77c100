"""A tiny stacked attention network in float64, and questions and boxes for it."""

from __future__ import annotations

import torch

from hf_guidance.models import SANConfig, SANForQuestionAnswering

torch.set_num_threads(1)

BATCH, OBJECTS, DIMS, CLASSES, WORDS = 3, 5, 4, 6, 8


def tiny_san(**changes):
    """In eval mode."""
    sizes = {
        "vocab_size": WORDS + 1, "word_size": 5, "hidden_size": 7, "attention_size": 3, "visual_feat_dim": DIMS,
        "num_labels": CLASSES,
    }  # fmt: skip
    torch.manual_seed(0)
    return SANForQuestionAnswering(SANConfig(**sizes | changes)).double().eval()


def tiny_inputs(batch=BATCH, seed=0):
    """Words that are all read, and boxes."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "input_ids": torch.randint(0, WORDS, (batch, 6), generator=generator),
        "visual_feats": torch.randn(batch, OBJECTS, DIMS, generator=generator, dtype=torch.float64),
    }


def tiny_labels(rows=BATCH):
    return torch.rand(rows, CLASSES, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
