"""Words that share a backward, and one backward a word, are the same step: loss and gradients."""

import pytest
import torch
from caption_step import MODELS, CaptionSetting


@pytest.mark.parametrize("name", MODELS)
def test_equal_losses_and_gradients(name, monkeypatch):
    small = {"WORDS": 30, "TIMES": 8, "VISUAL": 3, "OBJECTS": 4, "DIMS": 12, "PIXELS": 32, "WIDTH": 12}
    for size, value in small.items():
        monkeypatch.setattr(f"caption_step.{size}", value)
    monkeypatch.setattr("caption_step.SIZES", {"hidden_size": 8, "word_size": 7, "attention_size": 6})
    setting = CaptionSetting(name, 3, "cpu")
    setting.model.double()
    setting.batch = {
        key: value.double() if torch.is_tensor(value) and value.is_floating_point() else value
        for key, value in setting.batch.items()
    }
    found = []
    for step in (setting.guided, setting.each_word):
        loss = step()
        found.append((loss, [p.grad.clone() for p in setting.model.parameters() if p.grad is not None]))
    (ours, our_gradients), (theirs, their_gradients) = found
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    assert setting.plain().item() < ours.item()
    scale = max(gradient.abs().max().item() for gradient in their_gradients)
    for mine, other in zip(our_gradients, their_gradients, strict=True):
        assert (mine - other).abs().max().item() < 1e-10 * scale
