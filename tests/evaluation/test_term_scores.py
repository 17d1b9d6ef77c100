"""Losses over a set: by image, whatever the batches, and without images whose loss is not finite if so asked."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import SMOOTH_FAMILY, make_batch, smooth_net

from hf_guidance import Forward, Guidance, Term
from hf_guidance.attributions import InputXGradient
from hf_guidance.evaluation.term_scores import TermScores
from hf_guidance.objectives import Energy

GUIDANCE = Guidance(
    energy=Term(Energy(InputXGradient("input")), 2.0), rows=Term(Energy(InputXGradient("input")), 0.5, "rows")
)


def forward_of(batch):
    with torch.no_grad():
        return Forward(smooth_net(), SMOOTH_FAMILY, batch, GUIDANCE.needs())


def batch_of(images, pairs):
    """Images with explained rows as given: (image, slot) each; the rest of the batch as in tiny.make_batch."""
    batch, rows = make_batch(images, (4, 5), 2), make_batch(len(pairs), (4, 5), 2, seed=1)
    return batch | {
        "row": [image for image, _ in pairs], "slot": [slot for _, slot in pairs], "annotated": [True] * len(pairs),
        "target": rows["target"], "importance": rows["importance"],
    }  # fmt: skip


def figures(batch, real=None, add=0.0, finite_only=False):
    scores, forward = TermScores(), forward_of(batch)
    loss = scores.measure(GUIDANCE, forward, True, forward.images if real is None else real)
    assert scores.measured
    scores.add(loss + add, lambda table: table if real is None else table[:real])
    found = scores.compute(finite_only)
    assert scores.compute() == {}
    return loss.item(), found


def test_one_batch_gives_what_the_guidance_gives():
    """Images with two explained rows, one and none."""
    batch = batch_of(3, [(0, 0), (2, 0), (0, 1)])
    total, logs = GUIDANCE(forward_of(batch))
    loss, found = figures(batch)
    assert loss == pytest.approx(total.item(), rel=1e-5)
    assert found == pytest.approx({"loss": total.item()} | {name: v.item() for name, v in logs.items()}, rel=1e-5)
    assert figures(batch, add=1.5)[1]["loss"] == pytest.approx(total.item() + 1.5, rel=1e-5)


def test_images_that_fill_up_a_batch_do_not_count():
    whole = batch_of(3, [(0, 0), (2, 0), (0, 1)])
    first = {name: value[:2] for name, value in make_batch(3, (4, 5), 2).items()} | {
        "row": [0, 0], "slot": [0, 1], "annotated": [True] * 2, "target": whole["target"][[0, 2]],
        "importance": whole["importance"][[0, 2]],
    }  # fmt: skip
    loss, found = figures(whole, real=2)
    expected, wanted = figures(first)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert figures(whole, real=0)[0] == 0


def test_a_loss_that_is_not_finite_is_shown_or_filtered():
    pairs = [(0, 0), (1, 0), (2, 0)]
    batch = batch_of(3, pairs)
    batch["pixel_values"][1] = math.nan
    _, shown = figures(batch)
    assert math.isnan(shown["loss"])
    _, filtered = figures(batch, finite_only=True)
    assert math.isnan(filtered["loss/task"])
    others = {name: value[[0, 2]] if isinstance(value, torch.Tensor) else value[:2] for name, value in batch.items()}
    assert filtered["loss"] == pytest.approx(figures(others)[1]["loss"], rel=1e-5)
