"""As test_core_architectures.py for every model of transformers and timm: each agrees with plain autograd, or is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from every_model import timm_models, transformers_models
from every_model.second_order import CLOSE, disagreement


def small(candidate):
    """Where a model of timm takes any size: less to compute."""
    return replace(candidate, size=(96, 128)) if candidate.size == (160, 192) else candidate


CANDIDATES = [*transformers_models.candidates(), *map(small, timm_models.candidates())]
REFUSED = {
    "ImageGPTForImageClassification": r"model type 'imagegpt' .* has no family",
    "Siglip2ForImageClassification": r"flattened patches \(Idefics3, SmolVLM, SigLIP 2\) have no map",
}
ONE_IMAGE = ("iformer_t", "xcit_nano_12_p16_224")  # attention follows BatchNorm
pytestmark = pytest.mark.slow


def judge(candidate, **how):
    if candidate.name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[candidate.name]):
            disagreement(candidate, **how)
        return
    try:
        assert disagreement(candidate, **how) < CLOSE
    except ImportError as error:  # by transformers, when the model is built
        pytest.skip(" ".join(str(error).split())[:120])


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.key)
def test_in_evaluation_mode(candidate):
    judge(candidate)


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.key)
def test_in_train_mode(candidate):
    judge(candidate, images=3, training=True)


@pytest.mark.parametrize(
    "candidate", [c for c in CANDIDATES if c.name in ONE_IMAGE], ids=lambda candidate: candidate.key
)
def test_of_one_image(candidate):
    judge(candidate, images=1)
