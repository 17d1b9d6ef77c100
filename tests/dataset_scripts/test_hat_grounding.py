"""The rows of vqa_hat are compared by pixel with maps of a model, as they come from the builder."""

import numpy as np
import pytest
import torch
from PIL import Image
from raw_questions import make_vqa_hat
from scipy.stats import spearmanr

from hf_guidance import AnswerVocabulary, Grounding, QuestionCollator
from hf_guidance.attributions import InputXGradient
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering, word_tokenizer

BOXES = np.array([[0, 0, 0.25, 0.5], [0.2, 0.1, 0.9, 0.8], [0.5, 0.5, 1, 1]], np.float32)


def test_human_maps_of_vqa_hat(prepare, tmp_path):
    raw = make_vqa_hat(tmp_path / "raw")
    noise = (
        np.random.default_rng(0).integers(0, 256, (56, 42)).astype(np.uint8)
    )  # another size than the maps of 40 x 30
    Image.fromarray(noise).save(raw / "maps" / "3_1.png")
    splits, _ = prepare("vqa_hat", data_dir=str(raw), maps_dir="maps")
    rows = [dict(row) for row in splits["train"]]
    for number, row in enumerate(rows):
        row["features"], row["boxes"] = np.random.default_rng(number).normal(size=(3, 6)), BOXES
    tokenizer = word_tokenizer([row["question"] for row in rows])
    answers = AnswerVocabulary.from_answers([row["answers"] for row in rows], min_occurrence=1)
    batch = QuestionCollator(tokenizer, answers, map_size=(14, 14))(rows)
    assert batch["human_map"].shape == (2, 14, 14)
    assert batch["annotated"] == [True, True]
    torch.manual_seed(0)
    config = UpDnConfig(len(tokenizer), word_size=4, hidden_size=8, visual_feat_dim=6, num_labels=len(answers))
    model = UpDnForQuestionAnswering(config).eval()
    grounding = Grounding(InputXGradient(), ("plausibility",), "human_map")
    forward = Forward(model, family_of(model), batch, grounding.needs())
    pairs = grounding.pairs_of(forward)
    assert np.allclose(pairs[1][2], noise.reshape(14, 4, 14, 3).mean((1, 3)) / noise.max(), atol=1e-6)
    inside = pairs[0][2] > 0  # the upper left part of the first map
    assert inside[:7, :3].all()
    assert not inside[7:].any()
    assert not inside[:, 4:].any()
    grounding.add(forward, batch, 2)
    found = [spearmanr(one.ravel(), other.ravel()).statistic for _, one, other in pairs]
    assert grounding.compute()["plausibility"] == pytest.approx(np.mean(found))
