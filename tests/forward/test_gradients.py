import pytest
import torch
from torch import nn

from hf_guidance.forward.gradients import cam_gradient, slotwise_gradient
from hf_guidance.forward.maps import full_precision


def same(raw):
    return raw


def test_slots_and_copies_equal_one_backward_an_entry():
    torch.manual_seed(0)
    weight = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    raw = [torch.randn(4, 4, 1, dtype=torch.float64, requires_grad=True) for _ in range(2)]  # 2 copies of 2 images each
    logits = torch.cat([(r[..., 0].tanh() @ weight) for r in raw]).unflatten(0, (4, 2))
    row, slot, target = [1, 0, 1], [0, 0, 1], [2, 0, 1]
    scores = logits[:, row, target]
    gradient = slotwise_gradient(scores, raw, row, slot, same, create_graph=True)
    assert gradient.shape == (4, 3, 4, 1)
    for copy in range(4):
        for index, image in enumerate(row):
            (full,) = torch.autograd.grad(scores[copy, index], raw[copy // 2], retain_graph=True)
            assert torch.allclose(gradient[copy, index], full[2 * (copy % 2) + image])
    assert torch.autograd.grad(gradient.sum(), weight)[0].any()


def test_without_create_graph_no_graph_is_left():
    raw = torch.randn(2, 3, 1, requires_grad=True)
    gradient = slotwise_gradient(raw.square().sum((1, 2))[None], [raw], [0, 1], [0, 0], same, create_graph=False)
    assert not gradient.requires_grad
    assert torch.allclose(gradient[0], 2 * raw)


@pytest.mark.parametrize("magnitude", [1.0, 1e-6])
def test_half_precision_gradients_do_not_underflow(magnitude):
    raw = torch.ones(2, 3, 1, dtype=torch.float16, requires_grad=True)
    scores = (raw * magnitude).sum((1, 2))[None]
    gradient = slotwise_gradient(scores, [raw], [0, 1], [0, 0], same, create_graph=False)
    assert gradient.dtype == torch.float32
    assert torch.allclose(gradient, torch.full_like(gradient, magnitude), rtol=2e-2)


def test_cam_gradient_equals_autograd():
    head, activation = nn.Linear(4, 3).double(), torch.randn(2, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, -1.0]])
    score = (head(activation.mean((2, 3))) * weights).sum()
    (expected,) = torch.autograd.grad(score, activation)
    ours = cam_gradient(weights, head, activation)
    assert torch.allclose(ours, expected)
    assert ours.untyped_storage().nbytes() == 2 * 4 * 8
    assert ours.requires_grad


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64,) * 2,
    ],
)
def test_full_precision(dtype, result):
    assert full_precision(torch.zeros(1, dtype=dtype)).dtype == result
