"""TaskLoss with class weights: torch's numbers per image, the same however an update is split, refused where unclear."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import explain, make_batch, tiny_family, tiny_model

from hf_guidance import Guidance, Term
from hf_guidance.guidance import smoothed
from hf_guidance.objectives import TaskLoss

WEIGHTS = (0.5, 2.0, 0.0)


def forward_of(**columns):
    return explain(tiny_model("resnet"), tiny_family("resnet"), make_batch(6) | columns, TaskLoss())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_it_is_torch_s_loss_of_each_image(smoothing):
    forward = forward_of()
    expected = F.cross_entropy(
        forward.logits(), forward.column("labels"), torch.tensor(WEIGHTS).double(), reduction="none",
        label_smoothing=smoothing,
    )  # fmt: skip
    assert torch.equal(TaskLoss(smoothing, WEIGHTS)(forward), expected)


def test_the_task_term_divides_by_the_number_of_images():
    forward = forward_of()
    logits, labels = forward.logits(), forward.column("labels")
    expected = sum(-WEIGHTS[y] * logits[i].log_softmax(0)[y] for i, y in enumerate(labels)) / 6
    total, logs = Guidance(task=TaskLoss(class_weights=WEIGHTS))(None, forward)
    assert torch.allclose(total, expected)
    assert torch.allclose(logs["loss/task"], expected)


def test_balanced_weights_give_torch_s_weighted_mean_of_the_data():
    forward = forward_of(labels=torch.tensor([0, 0, 0, 1, 1, 2]))
    count = np.bincount(forward.column("labels").numpy())
    balanced = count.sum() / (len(count) * count)
    expected = F.cross_entropy(forward.logits(), forward.column("labels"), torch.tensor(balanced))
    assert torch.allclose(Guidance(task=TaskLoss(class_weights=balanced))(None, forward)[0], expected)


@pytest.mark.parametrize(
    "given", [[0.5, 2, 0], np.array(WEIGHTS), np.array(WEIGHTS, np.float32), torch.tensor(WEIGHTS)]
)
def test_lists_and_arrays_become_tuples(given):
    loss = TaskLoss(class_weights=given)
    assert loss == TaskLoss(class_weights=WEIGHTS)
    assert hash(loss) == hash(TaskLoss(class_weights=WEIGHTS))


def test_guidance_json_holds_them():
    guidance = Guidance(task=Term(TaskLoss(0.1, WEIGHTS), 2.0))
    plain = json.loads(guidance.to_json())
    assert plain["task"]["objective"] == {"type": "TaskLoss", "label_smoothing": 0.1, "class_weights": list(WEIGHTS)}
    assert dict(Guidance.from_dict(plain)) == dict(guidance)
    earlier = {"task": {"type": "Term", "objective": {"type": "TaskLoss", "label_smoothing": 0.1}}}
    assert Guidance.from_dict(earlier)["task"].objective == TaskLoss(0.1)


def test_label_smoothing_of_the_arguments_keeps_them():
    guidance = smoothed(Guidance(task=TaskLoss(class_weights=WEIGHTS)), 0.1)
    assert guidance["task"].objective == TaskLoss(0.1, WEIGHTS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((1.0, -1.0), r"-1.0 is not finite and >= 0"),
        ((1.0, float("nan")), r"nan is not finite"),
        ((1.0, float("inf")), r"inf is not finite.*a class without images"),
        ((), "no weight is above 0"),
        ((0.0, 0.0), "no weight is above 0"),
        (("a", "b"), "give numbers, one per class"),
        (np.ones((2, 3)), "give numbers, one per class"),
        ({"cat": 1.0, "dog": 2.0}, r"in the order of the logits"),
        ("balanced", r"class_weights='balanced'.*one number per class"),
        (2.0, r"one number per class"),
        (np.float64(2.0), r"class_weights"),
    ],
)
def test_wrong_weights_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        TaskLoss(class_weights=given)


@dataclass(frozen=True)
class Own(TaskLoss):
    gamma: float = 2.0

    def own(self, forward):
        return F.cross_entropy(forward.logits(), forward.column("labels"), self.weight, reduction="none")

    @property
    def weight(self):
        return torch.tensor(self.class_weights).double()


@dataclass(frozen=True)
class Decorated(Own):
    @torch.no_grad()
    @torch.autocast("cpu", enabled=False)
    def __call__(self, forward):
        return super().__call__(forward)


def plainly(method):
    def wrapper(self, forward):
        return method(self, forward)

    return wrapper


@dataclass(frozen=True)
class PlainlyDecorated(Own):
    @plainly
    def __call__(self, forward):
        return super().__call__(forward)


@dataclass(frozen=True)
class Helped(Own):
    def __call__(self, forward):
        return self.own(forward)


@dataclass(frozen=True)
class ByProperty(Own):
    def __call__(self, forward):
        return F.cross_entropy(forward.logits(), forward.column("labels"), self.weight, reduction="none")


@dataclass(frozen=True)
class Inside(Own):
    def __call__(self, forward):
        losses = TaskLoss().class_losses(forward.logits())
        return torch.stack([losses[i, y] * self.class_weights[y] for i, y in enumerate(forward.column("labels"))])


@pytest.mark.parametrize("loss", [Decorated, PlainlyDecorated, Helped, ByProperty, Inside])
def test_a_loss_of_its_own_may_apply_them_in_any_way(loss):
    forward = forward_of()
    assert torch.allclose(loss(class_weights=WEIGHTS)(forward), TaskLoss(class_weights=WEIGHTS)(forward))


@dataclass(frozen=True)
class Ignoring(Own):
    """Fields of its own and methods of TaskLoss do not apply weights."""

    @torch.autocast("cpu", enabled=False)
    def __call__(self, forward):
        losses = self.class_losses(forward.logits()) ** self.gamma
        return losses.gather(1, forward.column("labels")[:, None])[:, 0]


def test_a_loss_that_would_ignore_them_is_refused():
    Ignoring()
    for field in ({"class_weights": WEIGHTS}, {"label_smoothing": 0.1}):
        with pytest.raises(ValueError, match=r"would have no effect: Ignoring.__call__ computes the loss without it"):
            Ignoring(**field)


def test_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match=r"2 class_weights, but the model has 3 classes.*config.id2label"):
        TaskLoss(class_weights=(1.0, 2.0))(forward_of())


def test_multi_hot_labels_are_refused():
    with pytest.raises(ValueError, match=r"class_weights with multi-hot labels.*pos_weight"):
        TaskLoss(class_weights=WEIGHTS)(forward_of(labels=torch.eye(3)[[0, 1, 2, 0, 1, 2]]))
