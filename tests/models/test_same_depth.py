"""Weights of another depth or width are refused; a new head is not."""

import pytest
from transformers import AutoModelForImageClassification

from hf_guidance.models import (
    BcosResNetConfig,
    BcosResNetForImageClassification,
    XDNNResNetConfig,
    XDNNResNetForImageClassification,
)

KINDS = {
    "bcos": (BcosResNetConfig, BcosResNetForImageClassification),
    "xdnn": (XDNNResNetConfig, XDNNResNetForImageClassification),
}


def config_of(kind, **changes):
    sizes = {"embedding_size": 4, "hidden_sizes": (8, 8), "depths": (1, 2), "layer_type": "basic", "num_labels": 2}
    return KINDS[kind][0](**sizes | changes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (1, 3)}, r"depths=\[1, 3\].*weights \d+ missing \(as 'stages.1.2"),
        ({"depths": (1, 1)}, r"weights \d+ left over \(as 'stages.1.1"),
        ({"hidden_sizes": (8, 12)}, r"hidden_sizes=\[8, 12\].*weights \d+ of other shapes \(as 'stages.1.0"),
    ],
)
def test_another_backbone_is_refused(kind, changes, message, tmp_path):
    KINDS[kind][1](config_of(kind)).save_pretrained(tmp_path)
    for loading in (KINDS[kind][1], AutoModelForImageClassification):
        with pytest.raises(ValueError, match=message + r".*Leave config out"):
            loading.from_pretrained(tmp_path, config=config_of(kind, **changes), ignore_mismatched_sizes=True)


@pytest.mark.parametrize("kind", KINDS)
def test_another_head_is_new(kind, tmp_path):
    KINDS[kind][1](config_of(kind)).save_pretrained(tmp_path)
    model, info = AutoModelForImageClassification.from_pretrained(
        tmp_path, num_labels=5, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert model.config.num_labels == 5
    assert {name.split(".")[0] for name, *_ in info["mismatched_keys"]} == {"classifier"}
