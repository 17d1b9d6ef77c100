import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_guidance.objectives import (
    Identity,
    MaxAbs,
    MinMax,
    Normalization,
    OffsetMax,
    Positive,
    UnitNorm,
    normalizations,
)

ALL = [getattr(normalizations, name) for name in normalizations.__all__ if name != "Normalization"]


def by_loop(cls, row):
    values = row.flatten().tolist()
    if cls is Identity:
        return values
    if cls is Positive:
        values = [max(v, 0.0) for v in values]
        top = max(values)
        return [v / top if top else 0.0 for v in values]
    if cls is OffsetMax:
        values = [max(v, 0.0) + 1e-10 for v in values]
        return [v / max(values) for v in values]
    if cls is MaxAbs:
        top = max(abs(v) for v in values)
        return [v / top if top else 0.0 for v in values]
    if cls is MinMax:
        low, high = min(values), max(values)
        return [(v - low) / (high - low) if high > low else 0.0 for v in values]
    norm = sum(v * v for v in values) ** 0.5
    return [v / max(norm, 1e-12) for v in values]


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 6), (2, 3, 2, 2), (1, 1)])
def test_every_row_by_itself(cls, shape):
    maps = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = cls()(maps)
    assert ours.shape == shape
    for row, expected in zip(ours, maps, strict=True):
        assert row.flatten().tolist() == pytest.approx(by_loop(cls, expected))


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0], [-1.0, -2.0, -2.0], [0.5, 0.5, 0.5], [1e-200, 0.0, 0.0]])
def test_rows_without_scale_are_finite_with_their_gradient(cls, row):
    maps = torch.tensor([row, [1.0, 2.0, -3.0]], dtype=torch.float64, requires_grad=True)
    ours = cls()(maps)
    (gradient,) = torch.autograd.grad(ours.square().sum(), maps)
    assert torch.isfinite(ours).all()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("cls", ALL)
def test_a_row_whose_reciprocal_is_infinite_is_finite_with_its_gradient(cls):
    maps = torch.tensor([[1e-42, -1e-43, 0.0]], requires_grad=True)
    ours = cls()(maps)
    (gradient,) = torch.autograd.grad(ours.sum(), maps)
    assert torch.isfinite(ours).all()
    assert torch.isfinite(gradient).all()


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=6, unique=True).filter(
        lambda v: min(abs(a - b) for i, a in enumerate(v) for b in v[:i]) > 1e-2 and min(map(abs, v)) > 1e-2
    ),
    st.sampled_from(ALL),
)
@settings(max_examples=60, deadline=None)
def test_the_scale_is_differentiated(values, cls):
    maps = torch.tensor([values], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: cls()(m), maps, eps=1e-7, atol=1e-4)


@given(st.floats(0.01, 100), st.sampled_from([Positive, MaxAbs, MinMax, UnitNorm]))
@settings(max_examples=40, deadline=None)
def test_scaling_a_row_changes_nothing(factor, cls):
    maps = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(cls()(maps * factor), cls()(maps))


def test_values_are_equal_by_type():
    assert Positive() == Positive() != MaxAbs()
    with pytest.raises(NotImplementedError, match="Normalization must define"):
        Normalization()(torch.zeros(1, 1))
