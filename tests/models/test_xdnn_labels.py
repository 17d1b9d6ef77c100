"""Labels of bias-free ResNets: which fit, and what the loss makes of them."""

import pytest
import torch
from torch.nn import functional as F

from hf_guidance.models import XDNNResNetConfig, XDNNResNetForImageClassification

SIZES = {"embedding_size": 6, "hidden_sizes": [6, 8], "depths": [1, 1], "layer_type": "basic", "num_labels": 3}


def build(**fields):
    """In float64, nothing at its first value of zero."""
    torch.manual_seed(0)
    model = XDNNResNetForImageClassification(XDNNResNetConfig(**SIZES | fields))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.double().eval()


def pixels():
    return torch.randn(2, 3, 24, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float64])
def test_several_classes_in_any_type(dtype):
    model = build(problem_type="multi_label_classification").float()
    output = model(pixels().float(), labels=torch.tensor([[1, 0, 1], [0, 0, 0]]).to(dtype))
    expected = F.binary_cross_entropy_with_logits(output.logits, torch.tensor([[1.0, 0, 1], [0, 0, 0]]))
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize("problem", [None, "single_label_classification"])
@pytest.mark.parametrize("labels", [torch.tensor([2, 0], dtype=torch.int32), torch.tensor([[2], [0]])])
def test_classes_as_transformers_takes_them_and_of_any_integer_type(problem, labels):
    output = build(problem_type=problem)(pixels(), labels=labels)
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, torch.tensor([2, 0])))


@pytest.mark.parametrize(
    ("problem", "labels", "message"),
    [
        (
            None,
            torch.tensor([[1, 0, 1], [0, 0, 0]]),
            r"\(2, 3\) do not fit logits of shape \(2, 3\) with problem_type=None",
        ),
        ("multi_label_classification", torch.tensor([2, 0]), r"\(2,\) do not fit .*problem_type='multi_label"),
        ("single_label_classification", torch.zeros(2), "labels are torch.float32; one class per image is an integer"),
    ],
)
def test_labels_that_do_not_fit_are_refused(problem, labels, message):
    with pytest.raises(ValueError, match=message):
        build(problem_type=problem)(pixels(), labels=labels)


def test_one_number_an_image_is_still_a_regression():
    numbers = torch.tensor([0.5, 2], dtype=torch.float64)
    output = build(num_labels=1)(pixels(), labels=numbers)
    torch.testing.assert_close(output.loss, F.mse_loss(output.logits[:, 0], numbers))
