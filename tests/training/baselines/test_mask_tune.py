"""MaskTune: which pixels are hidden, and how they are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from placed_rows import place_rows, small_model

from hf_guidance import GuidanceCollator, explain
from hf_guidance.attributions import GradCAM
from hf_guidance.training.baselines import MaskTune
from hf_guidance.training.baselines.bits import packed, unpacked
from hf_guidance.training.baselines.mask_tune import kept_pixels, masked


@pytest.mark.parametrize("count", [1, 8, 13, 256])
def test_bits_are_what_was_packed(count):
    flags = torch.rand(5, count) < 0.5
    bits = packed(flags)
    assert bits.dtype == torch.uint8
    assert bits.shape == (5, -(-count // 8))
    assert torch.equal(unpacked(bits, count), flags)


def test_a_map_without_positive_values_hides_nothing():
    assert kept_pixels(torch.zeros(2, 4, 4)).all()
    assert kept_pixels(-torch.rand(2, 4, 4)).all()


def test_hidden_pixels_have_the_fill_of_their_channel():
    pixels, keep = torch.rand(1, 3, 2, 2), torch.tensor([[[True, False], [True, True]]])
    hidden = masked(pixels, keep, (0.1, 0.2, 0.3))
    assert hidden[0, :, 0, 1].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert torch.equal(hidden[..., 1, :], pixels[..., 1, :])
    with pytest.raises(ValueError, match="3 channels; give one value or as many"):
        masked(pixels, keep, (0.1, 0.2))
    with pytest.raises(ValueError, match="give finite numbers"):
        MaskTune(fill=float("nan"))


def test_what_is_hidden_is_what_the_starting_model_looks_at(baseline, placed):
    model = small_model(4)
    maps = explain(model, torch.tensor(placed["pixel_values"]), attribution=GradCAM()).maps
    trainer = baseline(MaskTune(deviations=0.5), model)
    trainer.get_train_dataloader()
    keep = unpacked(trainer._run.state()["kept"], 256).unflatten(1, (16, 16)).numpy()
    assert 0 < (~keep).mean() < 0.6
    for one, flags in zip(maps, keep, strict=True):
        if (~flags).any():
            assert np.asarray(one)[~flags].min() >= np.asarray(one)[flags].max() - 1e-5
    trainer.train()
    shares = [entry["loss/masked_share"] for entry in trainer.state.log_history if "loss" in entry]
    assert np.mean(shares) == pytest.approx((~keep).mean(), abs=1e-5)


def test_a_collator_that_moves_pixels_is_refused(baseline):
    collator = GuidanceCollator(None, num_labels=2, transform=lambda image, masks: (image, masks))
    with pytest.raises(ValueError, match="would move the pixels away from their masks"):
        baseline(MaskTune(), trainer={"data_collator": collator}).train()


def test_images_of_several_sizes_are_refused(baseline):
    rows = [{"pixel_values": torch.rand(3, side, side), "label": side % 2} for side in (16, 16, 24, 24)]
    with pytest.raises(ValueError, match=r"several sizes, \[\(16, 16\), \(24, 24\)\]"):
        baseline(MaskTune(), trainer={"train_dataset": rows}, per_device_eval_batch_size=2).train()
    assert len(place_rows(8)) == 8
