"""Labels of any dtype and form are read as what they are, or refused by name; nothing is counted as a loss of 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import explain, make_batch, tiny_family, tiny_model

from hf_guidance import Guidance
from hf_guidance.guidance import smoothed
from hf_guidance.objectives import AnswerLoss, TaskLoss

CLASSES = [0, 2, 1, 0]
HOT = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]]


def forward_of(labels):
    return explain(tiny_model("resnet"), tiny_family("resnet"), make_batch(4) | {"labels": labels}, TaskLoss())


@pytest.mark.parametrize("task", [TaskLoss(), AnswerLoss()])
@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor(CLASSES), torch.tensor(CLASSES, dtype=torch.int32), torch.tensor(CLASSES, dtype=torch.uint8),
        torch.tensor(CLASSES)[:, None], np.array(CLASSES), np.array(CLASSES, np.int16), CLASSES, tuple(CLASSES),
        [[label] for label in CLASSES],
    ],
)  # fmt: skip
def test_classes_of_any_dtype_are_classes(task, labels):
    forward = forward_of(labels)
    expected = F.cross_entropy(forward.logits(), torch.tensor(CLASSES), reduction="none")
    assert torch.equal(task(forward), expected)


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor(HOT),
        torch.tensor(HOT).bool(),
        torch.tensor(HOT).half(),
        np.array(HOT),
        np.array(HOT, np.float64),
        HOT,
    ],
)
def test_a_value_for_every_class_is_multi_hot(labels):
    forward = forward_of(labels)
    expected = F.binary_cross_entropy_with_logits(forward.logits(), torch.tensor(HOT).double(), reduction="none")
    assert torch.equal(TaskLoss()(forward), expected.mean(1))
    scores = AnswerLoss("sigmoid")(forward)
    torch.testing.assert_close(scores, expected.sum(1))


@pytest.mark.parametrize("task", [TaskLoss(), AnswerLoss()])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, -100, 1, -100]), r"labels hold -100, in 2 places: classes are 0 to 2"),
        ([0, 1, 2, -1], "labels hold -1, in 1 places"),
        (torch.tensor([0, 3, 1, 0]), "labels hold 3"),
        (
            torch.full((4, 3), 7.0),
            r"labels hold 7.0, in 12 places: .*lie in \[0, 1\]; for regression override task_loss",
        ),
        (torch.full((4, 3), torch.nan), r"labels hold nan"),
        (torch.full((4, 3), -1), r"labels hold -1"),
        (torch.ones(4), r"shape \(4,\) and dtype torch.float32, the logits \(4, 3\): .*regression"),
        (torch.ones(4, 1), r"shape \(4, 1\) and dtype torch.float32"),
        (torch.zeros(4, 2), r"shape \(4, 2\)"),
        (torch.zeros(3, dtype=torch.long), r"shape \(3,\)"),
        (["a", "b", "c", "d"], "labels are a list that is no tensor"),
        ([[0], [1, 2], [0], [1]], "labels are a list that is no tensor"),
    ],
)
def test_what_is_no_label_is_refused(task, labels, message):
    with pytest.raises(ValueError, match=message):
        task(forward_of(labels))


@dataclass(frozen=True)
class Focal(TaskLoss):
    """As docs/from-trainer.md shows it."""

    gamma: float = 2.0

    def class_losses(self, logits):
        loss = super().class_losses(logits)
        return (1 - torch.exp(-loss)) ** self.gamma * loss


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0)])
def test_smoothing_and_weights_are_applied_to_another_loss(smoothing, weights):
    forward = forward_of(CLASSES)
    shares = forward.logits().softmax(1)
    each = (1 - shares) ** 2 * -shares.log() * torch.tensor(weights or (1.0, 1.0, 1.0))
    target = (1 - smoothing) * F.one_hot(torch.tensor(CLASSES), 3) + smoothing / 3
    task = smoothed(Guidance(task=Focal(0.0, weights)), smoothing)["task"].objective
    torch.testing.assert_close(task(forward), (target * each).sum(1))


def test_another_loss_of_one_label_refuses_multi_hot_labels():
    with pytest.raises(
        ValueError, match=r"Focal.class_losses is the loss of one label per image, and labels are multi-hot"
    ):
        Focal()(forward_of(HOT))


class Ignoring(TaskLoss):
    def __call__(self, forward):
        return F.cross_entropy(forward.logits(), forward.column("labels"), reduction="none")


class Scaled(TaskLoss):
    def __call__(self, forward):
        return 2 * super().__call__(forward)


class Reading(TaskLoss):
    def __call__(self, forward):
        weight = torch.tensor(self.class_weights) if self.class_weights else None
        return F.cross_entropy(forward.logits(), forward.column("labels"), weight, label_smoothing=self.label_smoothing)


@pytest.mark.parametrize("field", ["label_smoothing", "class_weights"])
def test_what_a_formula_of_its_own_would_ignore_is_refused(field):
    given = {"label_smoothing": 0.1, "class_weights": (1.0, 2.0, 3.0)}[field]
    with pytest.raises(ValueError, match=rf"{field}=.* would have no effect: Ignoring.__call__ .*class_losses"):
        Ignoring(**{field: given})
    if field == "label_smoothing":
        with pytest.raises(ValueError, match=r"label_smoothing=0.1 would have no effect"):
            smoothed(Guidance(task=Ignoring()), 0.1)
    forward, plain = forward_of(torch.tensor(CLASSES)), TaskLoss(**{field: given})
    assert torch.equal(Scaled(**{field: given})(forward), 2 * plain(forward))
    assert getattr(Reading(**{field: given}), field) == given
    assert Ignoring()(forward).shape == (4,)
