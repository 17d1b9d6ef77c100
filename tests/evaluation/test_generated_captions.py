"""generate_captions: the captions of generate(), in batches, whatever the mode of the model."""

import numpy as np
import pytest
import torch
from toy_captions import DIMS

from hf_guidance.attributions import Gradient, WordLogit
from hf_guidance.data import CaptionCollator, VisualWords, encode_mask
from hf_guidance.evaluation import generate_captions
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.models import UpDnCaptionerConfig, UpDnForImageCaptioning, caption_tokenizer

TEXTS = ["a dog and a cat", "the dog sits", "a cat"]
MASK = encode_mask("dog", np.eye(8, dtype=bool))


def row(number):
    draw = np.random.default_rng(number)
    boxes = [[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1]]
    return {"features": draw.normal(size=(2, DIMS)).astype(np.float32), "boxes": boxes, "caption": TEXTS[number % 3],
            "segmentations": [MASK]}  # fmt: skip


@pytest.fixture
def made():
    torch.manual_seed(0)
    tokenizer = caption_tokenizer(TEXTS)
    config = UpDnCaptionerConfig(len(tokenizer), word_size=6, hidden_size=8, attention_size=5, visual_feat_dim=DIMS)
    collator = CaptionCollator(tokenizer, VisualWords({"dog": "dog", "cat": "cat"}), max_length=6)
    return UpDnForImageCaptioning(config), collator, [row(number) for number in range(7)]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_they_are_those_of_generate(made, batch_size):
    model, collator, rows = made
    model.train()
    said = generate_captions(model, collator, rows, batch_size=batch_size, do_sample=False)
    assert model.training
    model.eval()
    features = torch.stack([torch.from_numpy(one["features"]) for one in rows])
    tokens = model.generate(visual_feats=features, do_sample=False, max_new_tokens=6)
    assert said == collator.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    assert len(generate_captions(model, collator, rows, num_beams=2, max_new_tokens=2)) == 7


def test_captions_in_rows_are_not_read(made):
    model, collator, rows = made
    without = [{name: value for name, value in one.items() if name != "caption"} for one in rows]
    options = {"do_sample": False}
    assert generate_captions(model, collator, rows, **options) == generate_captions(model, collator, without, **options)


def test_the_words_a_model_says_itself_are_explained(made):
    model, collator, rows = made
    said = ["a dog", *generate_captions(model, collator, rows[1:], do_sample=False)]
    spoken = [{**one, "caption": text} for one, text in zip(rows, said, strict=True) if text]
    batch = collator(spoken)
    method = Gradient(target=WordLogit())
    maps = Forward(model, family_of(model), batch, method.needs()).attribution(method)
    assert maps.shape == (len(batch["row"]), 2)
    words = collator.tokenizer.convert_ids_to_tokens(batch["target"])
    assert set(words) <= {"dog", "cat"}
    assert words[0] == "dog"
