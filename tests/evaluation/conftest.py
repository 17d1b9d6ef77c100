"""A model and rows whose maps are written."""

from __future__ import annotations

import pytest
import torch
from extracting import rows_of
from tiny import BUILDERS


@pytest.fixture
def rows():
    return rows_of()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return BUILDERS["resnet"]().eval()


@pytest.fixture
def no_model(monkeypatch):
    """Calls of the model fail."""

    def refused(*_, **__):
        raise AssertionError("the model was called")

    monkeypatch.setattr("hf_guidance.evaluation.extraction.batches.Forward", refused)
