"""The step that the benchmark calls released is the same step: loss and gradients."""

import pytest
import torch
from sort_step import MODELS, SortSetting


@pytest.mark.parametrize("name", MODELS)
def test_equal_losses_and_gradients(name, monkeypatch):
    for size, small in {"WORDS": 50, "ANSWERS": 12, "DIMS": 2048}.items():
        monkeypatch.setattr(f"sort_step.{size}", small)
    setting = SortSetting(name, 3, "cpu", objects=4, cells=3)
    found = []
    for step in (setting.guided, setting.released):
        loss = step()
        found.append((loss, [p.grad.clone() for p in setting.model.parameters() if p.grad is not None]))
    (ours, our_gradients), (theirs, their_gradients) = found
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert len(our_gradients) == len(their_gradients) > 10
    for mine, other in zip(our_gradients, their_gradients, strict=True):
        assert torch.allclose(mine, other, rtol=1e-3, atol=1e-4 * other.abs().max().item() + 1e-7)
