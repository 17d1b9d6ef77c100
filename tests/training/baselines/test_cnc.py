"""CnC: which rows are drawn and paired."""

from __future__ import annotations

import pytest
import torch
from placed_rows import unsure_model

from hf_guidance.training.baselines import CnC
from hf_guidance.training.baselines.cnc import ContrastSampler, pairs
from hf_guidance.training.baselines.contrast import contrast

LABELS = torch.tensor([0] * 10 + [1] * 10)
GUESSED = torch.tensor([0] * 8 + [1] * 2 + [1] * 7 + [0] * 3)


def test_pairs_are_of_one_label_and_two_guesses_or_the_reverse():
    positives, negatives = pairs(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]))
    assert positives.int().tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert negatives.int().tolist() == [[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]]


@pytest.mark.parametrize("two_sided", [True, False])
def test_every_batch_has_what_its_anchors_need(two_sided):
    sampler = ContrastSampler(LABELS, GUESSED, 8, seed=0, two_sided=two_sided)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == 20
    for start in (0, 8):
        batch = torch.tensor(drawn[start : start + 8])
        positives, negatives = pairs(LABELS[batch], GUESSED[batch])
        anchors = LABELS[batch] == GUESSED[batch]
        assert (positives.any(1) & negatives.any(1) & anchors).any()
        if two_sided:
            assert (positives.any(1) & negatives.any(1) & ~anchors).any()
    assert {int(LABELS[drawn[0]]), int(LABELS[drawn[8]])} == {0, 1}
    assert drawn == list(sampler)
    sampler.set_epoch(1)
    assert drawn != list(sampler)


def test_a_class_without_errors_is_drawn_without_contrast():
    guessed = torch.where(LABELS == 1, torch.tensor(1), GUESSED)
    guessed[10] = 0  # else class 0 has no negatives
    drawn = torch.tensor(list(ContrastSampler(LABELS, guessed, 8, seed=0)))
    assert 0.3 < (LABELS[drawn] == 1).float().mean() < 0.7
    guessed[10] = 1  # the errors of class 0 have negatives, its other rows have none
    assert len(list(ContrastSampler(LABELS, guessed, 8, seed=0))) == 20
    with pytest.raises(ValueError, match="it is wrong on 2 of 20"):
        ContrastSampler(LABELS, guessed, 8, seed=0, two_sided=False)
    with pytest.raises(ValueError, match=r"it is wrong on 0 of 20 rows. Give a model that was trained less"):
        ContrastSampler(LABELS, LABELS, 8, seed=0)
    with pytest.raises(ValueError, match="a batch of 3 rows"):
        ContrastSampler(LABELS, GUESSED, 3, seed=0)


def test_an_anchor_without_pairs_has_no_loss_and_no_gradient():
    similarities = torch.rand(2, 3, requires_grad=True)
    positives = torch.tensor([[False, True, False], [False, False, False]])
    negatives = torch.tensor([[False, False, True], [False, False, True]])
    losses, usable = contrast(similarities, positives, negatives, 0.1)
    losses.sum().backward()
    assert usable.tolist() == [True, False]
    assert losses[1] == 0
    assert similarities.grad[1].tolist() == [0, 0, 0]
    assert similarities.grad.isfinite().all()


def test_the_contrast_falls_and_skipped_anchors_are_logged(baseline):
    trainer = baseline(CnC(identifier=unsure_model()), unsure_model(), num_train_epochs=20, learning_rate=3e-2)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert all(0 <= entry["loss/anchors_skipped"] < 1 for entry in logs)
    first, last = (sum(entry["loss/contrast"] for entry in part) for part in (logs[:9], logs[-9:]))
    assert last < first
    for entry in logs:
        assert entry["loss"] == pytest.approx(0.75 * entry["loss/contrast"] + 0.25 * entry["loss/task"], rel=1e-3)
    for wrong in (lambda: CnC(temperature=0.0), lambda: CnC(weight=1.5)):
        with pytest.raises(ValueError, match="give"):
            wrong()
