"""The step that the benchmark calls released is the same step: loss and gradients."""

import pytest
import torch
from crayon_step import MODELS, CrayonSetting


@pytest.mark.parametrize("name", MODELS)
def test_equal_losses_and_gradients(name):
    setting = CrayonSetting(name, batch=4, size=64, device="cpu")
    found = []
    for step in (setting.attention, setting.released):
        loss = step()
        found.append((loss, [parameter.grad.clone() for parameter in setting.model.parameters()]))
    (ours, our_gradients), (theirs, their_gradients) = found
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    for mine, other in zip(our_gradients, their_gradients, strict=True):
        assert torch.allclose(mine, other, rtol=1e-3, atol=1e-4 * other.abs().max().item() + 1e-7)
