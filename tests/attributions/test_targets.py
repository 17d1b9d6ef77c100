from types import SimpleNamespace

import pytest
import torch

from hf_guidance.attributions import ContrastLogits, LabelLogit, PredictedLogit, SoftLabelLogits, Target

LOGITS = torch.tensor([[1.0, 3.0, 2.0], [0.5, -1.0, 0.0], [2.0, 2.0, -1.0]], requires_grad=True)


def forward(row=(0, 1, 2), **columns):
    return SimpleNamespace(column=columns.__getitem__, of_rows=lambda values: values[list(row)])


def test_label_logit():
    weights = LabelLogit()(LOGITS, forward(target=torch.tensor([2, 0, 1])))
    assert weights.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert weights.dtype == LOGITS.dtype


def test_predicted_logit_takes_the_first_of_equals():
    weights = PredictedLogit()(LOGITS, forward())
    assert weights.tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0]]
    assert not weights.requires_grad


def test_soft_label_logits_take_every_positive_class_of_the_rows_image():
    labels = torch.tensor([[0.3, 0.0, 0.7], [0.0, 1.0, 0.0]])
    weights = SoftLabelLogits()(LOGITS, forward(row=(1, 0, 0), labels=labels))
    assert weights.tolist() == [[0, 1, 0], [1, 0, 1], [1, 0, 1]]
    one = SoftLabelLogits()(LOGITS, forward(row=(1, 0, 0), labels=torch.tensor([2, 0])))
    assert one.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]


def test_contrast_is_the_distance_to_the_strongest_other_class():
    target = torch.tensor([2, 0, 1])
    weights = ContrastLogits()(LOGITS, forward(target=target))
    scores = (weights * LOGITS).sum(1)
    for row, label in enumerate(target.tolist()):
        rival = max(LOGITS[row, k].item() for k in range(3) if k != label)
        assert scores[row].item() == pytest.approx(abs(LOGITS[row, label].item() - rival))
    assert weights[0].tolist() == [0, 1, -1]
    assert not weights.requires_grad


def test_contrast_of_two_classes_does_not_depend_on_the_label():
    two = LOGITS[:, :2]
    first, second = (ContrastLogits()(two, forward(target=torch.full((3,), k))) for k in (0, 1))
    assert torch.equal((first * two).sum(1), (second * two).sum(1))
    assert torch.equal(first[:2], second[:2])


def test_the_base_names_what_is_missing():
    with pytest.raises(NotImplementedError, match="Target must define"):
        Target()(LOGITS, forward())
