"""Features of a grid beside the boxes: collated, read by Pythia alone, and what bad ones say."""

import numpy as np
import pytest
import torch

from hf_guidance.attributions import Gradient, InputXGradient
from hf_guidance.data import AnswerVocabulary, QuestionCollator
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.models import (
    PythiaConfig,
    PythiaForQuestionAnswering,
    UpDnConfig,
    UpDnForQuestionAnswering,
    word_tokenizer,
)
from hf_guidance.views import FULL, IMPORTANT

TOKENIZER = word_tokenizer(["is it red"])


def row(number=0, cells=6, **columns):
    random = np.random.default_rng(number)
    return {
        "question_id": str(number), "question": "is it red" if number else "is it", "answers": ["yes"],
        "features": random.normal(size=(2, 4)), "boxes": [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], "importance": [0.9, 0.1],
        "grid_features": random.normal(size=(cells, 3)).tolist(), **columns,
    }  # fmt: skip


def collator():
    return QuestionCollator(TOKENIZER, AnswerVocabulary(("yes", "no")))


def pythia():
    config = PythiaConfig(
        vocab_size=len(TOKENIZER), word_size=4, hidden_size=4, word_attention_size=3, visual_feat_dim=4,
        box_encoding_size=None, grid_feat_dim=3, fusion_size=8, text_branch_size=4, image_branch_size=4, num_labels=2,
    )  # fmt: skip
    return PythiaForQuestionAnswering(config).eval()


def test_the_batch_holds_them_and_pythia_answers_by_them():
    rows = [row(), row(1)]
    batch = collator()(rows)
    assert batch["grid_feats"].dtype == torch.float32
    assert np.allclose(batch["grid_feats"][1], rows[1]["grid_features"])
    model = pythia()
    needs = frozenset({(FULL, "logits"), (IMPORTANT, "logits"), (FULL, "fusion"), (FULL, "input")})
    forward = Forward(model, family_of(model), batch, needs)
    given = {name: batch[name] for name in ("input_ids", "attention_mask", "visual_feats", "grid_feats")}
    torch.testing.assert_close(forward.logits(), model(**given).logits)
    boxes = batch["visual_feats"] * (batch["importance"] > 0.5)[..., None]
    filled = torch.where((batch["importance"] > 0.5)[..., None], boxes, forward.fill(IMPORTANT))
    torch.testing.assert_close(forward.logits(IMPORTANT)[0], model(**given | {"visual_feats": filled}).logits)
    assert forward.attribution(InputXGradient("fusion")).shape == (2, 8)
    assert forward.attribution(Gradient()).shape == (2, 2)


def test_a_model_of_boxes_alone_ignores_the_column():
    batch = collator()([row()])
    sizes = {"vocab_size": len(TOKENIZER), "visual_feat_dim": 4, "hidden_size": 4, "num_labels": 2}
    for model in (
        UpDnForQuestionAnswering(UpDnConfig(**sizes)),
        PythiaForQuestionAnswering(PythiaConfig(**sizes, grid_feat_dim=None, fusion_size=8, image_branch_size=4)),
    ):
        assert Forward(model, family_of(model), batch, frozenset({(FULL, "logits")})).logits().shape == (1, 2)


def test_rows_without_a_grid_make_none():
    assert "grid_feats" not in collator()([row(grid_features=None)])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"grid_features": None}, r"row 1 of the batch \(question_id '1'\) has no grid_features, and other rows"),
        ({"cells": 5}, r"row 1 .* has grid_features of shape \(5, 3\), row 0 .* of shape \(6, 3\)"),
        ({"grid_features": [1.0, 2.0]}, r"row 1 .* has grid_features of shape \(2,\); give finite \(cells, dims\)"),
        ({"grid_features": [[float("nan")] * 3] * 6}, r"row 1 .* of shape \(6, 3\), empty or not finite"),
        ({"grid_features": [["a"]]}, r"row 1 .*: grid_features are no array of numbers"),
        ({"grid_features": []}, r"row 1 .* has grid_features of shape \(0,\)"),
    ],
)
def test_bad_grids(other, message):
    with pytest.raises(ValueError, match=message):
        collator()([row(), row(1, **other)])
