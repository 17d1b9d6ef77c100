"""A user's subclass is not published as its parent, and no wrapper hides a copy of a model."""

import json

import pytest
import torch
from torch import nn

from hf_guidance.families import family_of
from hf_guidance.models import XDNNResNetConfig, XDNNResNetForImageClassification

SIZES = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic", "num_labels": 2}


class Twice(XDNNResNetForImageClassification):
    def forward(self, pixel_values: torch.Tensor, **kwargs: object) -> object:
        return super().forward(2 * pixel_values, **kwargs)


@pytest.mark.parametrize(("cls", "carries"), [(XDNNResNetForImageClassification, True), (Twice, False)])
def test_only_our_own_classes_carry_their_source(cls, carries, tmp_path):
    cls(XDNNResNetConfig(**SIZES)).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["architectures"] == [cls.__name__]
    assert ("auto_map" in saved) is carries
    assert bool(list(tmp_path.glob("*.py"))) is carries


class Wrapper(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.config = inner, inner.config


def test_copies_are_refused_in_wrappers_and_as_parents():
    copy = type(
        "XDNNResNetForImageClassification",
        (XDNNResNetForImageClassification,),
        {"__module__": "transformers_modules.a"},
    )
    for cls in (copy, type("Mine", (copy,), {"__module__": "mine"})):
        model = cls(XDNNResNetConfig(**SIZES))
        for whole in (model, Wrapper(model)):
            with pytest.raises(ValueError, match="is the copy that was saved beside its weights"):
                family_of(whole)
    assert family_of(XDNNResNetForImageClassification(XDNNResNetConfig(**SIZES)))
