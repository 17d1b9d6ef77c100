"""The soft scores of AnswerVocabulary are those that the released code of SOrT trains on."""

from pathlib import Path

import numpy as np
import pytest

from hf_guidance.data import AnswerVocabulary

FILE = Path(__file__).parents[3].parent / "shared" / "golden" / "crayon_sort" / "sort_vqa_soft_targets.npz"


@pytest.mark.parametrize("case", range(3))
def test_soft_scores(agree, case):
    if not FILE.exists():
        pytest.skip(f"golden data is absent: {FILE.name} lies outside of this repository")
    data = np.load(FILE)
    size, unknown = int(data[f"c{case}__vocab_size"]), int(data[f"c{case}__unk_index"])
    vocabulary = AnswerVocabulary(tuple(f"word{index}" for index in range(size)), scoring="soft")
    for indices, expected in zip(data[f"c{case}__answer_index"], data[f"c{case}__soft_targets"], strict=True):
        texts = ["unheard of" if index == unknown else f"word{index}" for index in indices]
        agree("crayon_sort/sort_vqa_soft_targets (32 bit)", vocabulary.encode(texts), expected, tolerance=1e-7)
