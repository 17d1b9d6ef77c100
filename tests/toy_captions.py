"""A tiny captioner in float64, and batches of captions with explained words."""

from __future__ import annotations

import torch

from hf_guidance.models import UpDnCaptionerConfig, UpDnForImageCaptioning

IMAGES, OBJECTS, DIMS, TIMES, WORDS = 3, 5, 4, 6, 11
PAD, BEGIN, END = 0, 1, 2


def captioner(**fields) -> UpDnForImageCaptioning:
    torch.manual_seed(0)
    sizes = {"word_size": 7, "hidden_size": 8, "attention_size": 6, "visual_feat_dim": DIMS}
    return UpDnForImageCaptioning(UpDnCaptionerConfig(WORDS, **sizes | fields)).double()


def caption_batch(padded: bool = True) -> dict:
    """Captions of 5, 3 and 4 words; seven explained words, of which two have a second token, none of the last image."""
    generator = torch.Generator().manual_seed(1)
    lengths = [5, 3, 4]
    words = torch.randint(3, WORDS, (IMAGES, TIMES - 1), generator=generator)
    ids, labels = torch.full((IMAGES, TIMES), PAD), torch.full((IMAGES, TIMES), -100)
    ids[:, 0] = BEGIN
    for image, length in enumerate(lengths):
        ids[image, 1 : 1 + length] = words[image, :length]
        labels[image, :length] = words[image, :length]
        labels[image, length] = END
    row, slot, time = [0, 0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 0, 1, 2], [0, 1, 3, 4, 0, 1, 2]
    target = labels[row, time]
    tokens = torch.stack([target, torch.full_like(target, -1)], 1)
    for index in (1, 5):
        tokens[index, 1] = labels[row[index], time[index] + 1]
    batch = {
        "input_ids": ids, "labels": labels, "row": row, "slot": slot, "time": time, "target": target,
        "word_tokens": tokens, "annotated": [True] * len(row),
        "visual_feats": torch.randn(IMAGES, OBJECTS, DIMS, generator=generator, dtype=torch.float64),
        "importance": torch.rand(len(row), OBJECTS, generator=generator, dtype=torch.float64),
    }  # fmt: skip
    if padded:
        batch["visual_attention_mask"] = torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [1] * 5])
    return batch
