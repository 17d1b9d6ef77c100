"""Tiny models on region features, in float64, and batches for them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from transformers import LxmertConfig, LxmertForQuestionAnswering

from hf_guidance.families import Family, RegionFamily, family_of
from hf_guidance.models import (
    PythiaConfig,
    PythiaForQuestionAnswering,
    SANConfig,
    SANForQuestionAnswering,
    UpDnConfig,
    UpDnForQuestionAnswering,
)

OBJECTS, DIMS, ANSWERS, GRID = 5, 4, 6, 3


class ToyVQA(nn.Module):
    """The model of the golden data: attention over boxes by the question, smooth everywhere.

    ``q = tanh(Q W_q)``, ``a = softmax_k((tanh(x_k W_v) * q) u)``, ``logits = (tanh(sum_k a_k x_k W_o) * q) W_c``.
    """

    def __init__(self, classes: int = ANSWERS) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def weight(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.Wv, self.Wq, self.u = weight(DIMS, 6), weight(3, 6), weight(6)
        self.Wo, self.Wc = weight(DIMS, 6), weight(6, classes)

    def forward(self, visual_feats: Tensor, question: Tensor) -> dict[str, Tensor]:
        hidden = torch.tanh(question @ self.Wq)
        attention = ((torch.tanh(visual_feats @ self.Wv) * hidden[:, None]) @ self.u).softmax(1)
        seen = (attention[..., None] * visual_feats).sum(1)
        return {
            "logits": (torch.tanh(seen @ self.Wo) * hidden) @ self.Wc, "attention": attention,
            "question_logits": hidden.detach() @ self.Wc, "question_logits_fixed": hidden @ self.Wc.detach(),
        }  # fmt: skip


class ToyFamily(RegionFamily):
    """Every view by repeating and editing; the attention is a field of the outputs."""

    def attention(self, outputs):
        return outputs["attention"]


TOY_FAMILY = ToyFamily(layers={}, inputs=("visual_feats", "question"), places=None)


def updn() -> nn.Module:
    return UpDnForQuestionAnswering(
        UpDnConfig(vocab_size=11, word_size=6, hidden_size=8, visual_feat_dim=DIMS, num_labels=ANSWERS)
    )


def pythia(grid: int | None = None) -> nn.Module:
    return PythiaForQuestionAnswering(
        PythiaConfig(
            vocab_size=11, word_size=6, hidden_size=5, word_attention_size=4, visual_feat_dim=DIMS, box_encoding_size=7,
            grid_feat_dim=grid, fusion_size=16, text_branch_size=6, image_branch_size=8, num_labels=ANSWERS,
        )
    )  # fmt: skip


def san() -> nn.Module:
    return SANForQuestionAnswering(
        SANConfig(
            vocab_size=11, word_size=6, hidden_size=8, attention_size=4, visual_feat_dim=DIMS, num_labels=ANSWERS,
        )
    )  # fmt: skip


def lxmert() -> nn.Module:
    return LxmertForQuestionAnswering(
        LxmertConfig(
            vocab_size=11, hidden_size=8, num_attention_heads=2, intermediate_size=16, l_layers=2, r_layers=2, x_layers=2,
            visual_feat_dim=DIMS, num_qa_labels=ANSWERS, max_position_embeddings=12,
        )
    )  # fmt: skip


REGION_BUILDERS = {
    "toy": ToyVQA,
    "updn": updn,
    "pythia": pythia,
    "pythia_grid": lambda: pythia(GRID),
    "san": san,
    "lxmert": lxmert,
}


def fresh_region_model(name: str) -> nn.Module:
    """A new tiny model, in float64 and eval mode, no parameter at an initial value that hides a path."""
    torch.manual_seed(0)
    model = REGION_BUILDERS[name]().double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return model


@lru_cache
def region_model(name: str) -> nn.Module:
    """The shared one: read it, do not change it."""
    return fresh_region_model(name)


def region_family(name: str) -> Family:
    return TOY_FAMILY if name == "toy" else family_of(region_model(name))


def region_batch(images: int = 3, objects: int = OBJECTS, seed: int = 0, padding: bool = False) -> dict[str, object]:
    """Questions with one answer each, all annotated. With padding, the last box of the first image is none."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.rand(images, ANSWERS, generator=generator, dtype=torch.float64).clamp_min(0.3) - 0.3
    grid = torch.randn(images, 2, GRID, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    batch: dict[str, object] = {
        "visual_feats": torch.randn(images, objects, DIMS, generator=generator, dtype=torch.float64),
        "visual_pos": torch.rand(images, objects, 4, generator=generator, dtype=torch.float64),
        "input_ids": torch.randint(1, 10, (images, 7), generator=generator),
        "attention_mask": torch.ones(images, 7, dtype=torch.long),
        "question": torch.randn(images, 3, generator=generator, dtype=torch.float64),
        "grid_feats": grid,
        "labels": labels,
        "target": labels.argmax(1),
        "quadrant": torch.arange(images) % 3,
        "importance": torch.rand(images, objects, generator=generator),
    }
    if padding:
        mask = torch.ones(images, objects, dtype=torch.long)
        mask[0, -1] = 0
        batch["visual_attention_mask"] = mask
        batch["importance"] = batch["importance"] * mask
    return batch
