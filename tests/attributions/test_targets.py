from types import SimpleNamespace

import pytest
import torch
from tiny import CLASSES, explain, make_batch, parameter_gradients, relative_error, tiny_family, tiny_model
from toy_vqa import region_batch, region_family, region_model

from hf_guidance.attributions import (
    ContrastLogits,
    Gradient,
    LabelLogit,
    LeaveOneOut,
    LogProbabilities,
    PredictedLogit,
    SoftLabelLogits,
    Target,
)
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import Identity, RightReasons
from hf_guidance.views import FULL

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


@pytest.mark.parametrize("epsilon", [0, 0.0, 1e-11, 0.1])
def test_log_probabilities_and_their_weights(epsilon):
    target = LogProbabilities(epsilon)
    logits = LOGITS.detach().double().requires_grad_()
    score = target.score(logits, forward())
    assert torch.allclose(score, (logits.softmax(1) + epsilon).log().sum(1))
    (expected,) = torch.autograd.grad(score.sum(), logits)
    weights = target(logits, forward())
    assert torch.allclose(weights, expected, atol=1e-12)
    assert weights.requires_grad
    assert torch.allclose(weights.sum(1), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    several = torch.stack([logits, 2 * logits])
    assert torch.equal(target.score(several, forward())[0], score)


def test_log_probabilities_of_far_logits_do_not_underflow():
    far = torch.tensor([[0.0, 500.0, -500.0]])
    assert LogProbabilities().score(far, forward()).item() == -1500
    half = torch.tensor([[0.0, 20.0, -30.0]], dtype=torch.float16)
    assert LogProbabilities().score(half, forward()).dtype == torch.float32
    assert LogProbabilities()(half, forward()).dtype == torch.float32


@pytest.mark.parametrize("epsilon", [-1e-3, float("nan"), float("inf"), "0"])
def test_epsilons_that_are_refused(epsilon):
    with pytest.raises(ValueError, match=r"LogProbabilities\(epsilon=.*finite number >= 0, as 0 or 1e-11"):
        LogProbabilities(epsilon)


@pytest.mark.parametrize("name", ["resnet", "convnext", "timm_vit"])
@pytest.mark.parametrize("layer", ["input", "mid2", "final"])
def test_gradient_of_log_probabilities_and_its_second_derivative(name, layer):
    """By the chain rule, from the gradient of every logit. At "final" some heads have a closed form."""
    model, family, batch = tiny_model(name), tiny_family(name), make_batch()
    method, of_label = Gradient(layer, target=LogProbabilities(), channels="keep"), Gradient(layer, channels="keep")
    step = explain(model, family, batch, method)
    gradient, expected = step.attribution(method), 0
    for label in range(CLASSES):
        one = explain(model, family, batch | {"target": torch.full((3,), label)}, of_label)
        slope = 1 - CLASSES * one.logits().softmax(1)[:, label]
        expected = expected + slope[:, None, None, None] * one.attribution(of_label)
    assert relative_error(gradient, expected.detach()) < 1e-10
    ours = parameter_gradients(gradient.square().sum(), model)
    theirs = parameter_gradients(expected.square().sum(), model)
    scale = max(each.abs().max().item() for each in theirs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11 * scale)


def test_scores_of_edited_copies_are_those_of_their_own_logits():
    batch, method = region_batch(), LeaveOneOut(target=LogProbabilities())
    step = explain(region_model("toy"), region_family("toy"), batch, method)
    maps = step.attribution(method)
    view = next(view for view, _ in method.needs() if view != FULL)
    scores = step.logits(view).log_softmax(-1).sum(-1)
    change = step.logits().log_softmax(-1).sum(-1) - scores
    assert relative_error(maps.detach().abs(), change.detach().T.abs()) < 1e-10


def test_log_probabilities_in_a_guidance_file():
    method = Gradient(target=LogProbabilities(epsilon=1e-11), channels="keep")
    guidance = Guidance(rrr=RightReasons(method, Identity(), variant="tensorflow"))
    assert Guidance.from_dict(guidance.to_dict()) == guidance


def test_a_method_is_shown_with_one_number_per_place():
    kept = Gradient("mid1", target=LogProbabilities(), channels="keep")
    assert kept.by_place() == Gradient("mid1", target=LogProbabilities(), channels="abs")
    assert Gradient("mid1").by_place() == Gradient("mid1")
    assert LeaveOneOut().by_place() == LeaveOneOut()
