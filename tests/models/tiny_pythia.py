"""A tiny Pythia in float64, and questions, boxes and a grid for it."""

from __future__ import annotations

import torch

from hf_guidance.models import PythiaConfig, PythiaForQuestionAnswering

torch.set_num_threads(1)

BATCH, OBJECTS, DIMS, CELLS, GRID, CLASSES, WORDS = 3, 5, 4, 6, 3, 6, 8


def tiny_pythia(**changes):
    """In eval mode."""
    sizes = {
        "vocab_size": WORDS + 1, "word_size": 5, "hidden_size": 4, "word_attention_size": 3, "visual_feat_dim": DIMS,
        "box_encoding_size": 6, "grid_feat_dim": GRID, "fusion_size": 11, "text_branch_size": 5, "image_branch_size": 7,
        "num_labels": CLASSES,
    }  # fmt: skip
    torch.manual_seed(0)
    return PythiaForQuestionAnswering(PythiaConfig(**sizes | changes)).double().eval()


def tiny_inputs(batch=BATCH, seed=0, grid=True):
    """Words that are all read, boxes, and a grid."""
    generator = torch.Generator().manual_seed(seed)
    given = {
        "input_ids": torch.randint(0, WORDS, (batch, 6), generator=generator),
        "visual_feats": torch.randn(batch, OBJECTS, DIMS, generator=generator, dtype=torch.float64),
        "grid_feats": torch.randn(batch, CELLS, GRID, generator=generator, dtype=torch.float64),
    }
    return given if grid else {name: value for name, value in given.items() if name != "grid_feats"}


def tiny_labels(rows=BATCH):
    return torch.rand(rows, CLASSES, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
