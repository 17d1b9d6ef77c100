"""Words that share a backward, and one backward a word, are the same step; words read once or anew, the same captions."""

import pytest
import torch
from caption_step import MODELS, CaptionSetting


@pytest.fixture(params=MODELS)
def setting(request, monkeypatch):
    small = {"WORDS": 30, "TIMES": 8, "VISUAL": 3, "OBJECTS": 4, "DIMS": 12, "PIXELS": 32, "WIDTH": 12}
    for size, value in small.items():
        monkeypatch.setattr(f"caption_step.{size}", value)
    monkeypatch.setattr("caption_step.SIZES", {"hidden_size": 8, "word_size": 7, "attention_size": 6})
    setting = CaptionSetting(request.param, 3, "cpu")
    setting.model.double()
    setting.batch = {
        key: value.double() if torch.is_tensor(value) and value.is_floating_point() else value
        for key, value in setting.batch.items()
    }
    return setting


def test_equal_losses_and_gradients(setting):
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


def test_equal_captions(setting):
    said = setting.kept()
    assert torch.equal(said, setting.anew())
    assert said.shape == (3, 8)
    assert setting.model.training
