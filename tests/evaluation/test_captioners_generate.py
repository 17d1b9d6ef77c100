"""generate_captions with every kind of captioner: one image or several, and vocabularies in which no caption would end."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    GenerationConfig,
    GPT2Config,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
)

from hf_guidance.data import CaptionCollator, VisualWords, encode_mask
from hf_guidance.evaluation import generate_captions
from hf_guidance.models import UpDnCaptionerConfig, UpDnForImageCaptioning, caption_tokenizer

SIDE, DIMS = 16, 4
TOKENIZER = caption_tokenizer(["a dog and a cat", "it is red"])
WORDS = VisualWords({"dog": "dog", "cat": "cat"})
VISION = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "image_size": SIDE,
          "patch_size": 4}  # fmt: skip


def updn(end=2):
    sizes = {"word_size": 6, "hidden_size": 8, "attention_size": 5, "visual_feat_dim": DIMS}
    return UpDnForImageCaptioning(UpDnCaptionerConfig(len(TOKENIZER), eos_token_id=end, **sizes))


def vit_gpt2(end=2):
    words = GPT2Config(vocab_size=len(TOKENIZER), n_embd=16, n_layer=1, n_head=2, n_positions=32, bos_token_id=1,
                       eos_token_id=end, pad_token_id=0, add_cross_attention=True)  # fmt: skip
    return VisionEncoderDecoderModel(
        config=VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**VISION), words)
    )


def blip(end=2):
    text = {"vocab_size": len(TOKENIZER), "hidden_size": 16, "encoder_hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32, "bos_token_id": 1,
            "sep_token_id": end, "eos_token_id": end, "pad_token_id": 0}  # fmt: skip
    return BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=VISION, projection_dim=16))


MODELS = {"updn": updn, "vit and gpt2": vit_gpt2, "blip": blip}


def given(name, count, end=2):
    """A model, its collator and rows."""
    torch.manual_seed(0)
    model, draw = MODELS[name](end), np.random.default_rng(0)
    if name == "updn":
        boxes = [[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1]]
        rows = [{"features": draw.normal(size=(2, DIMS)).astype(np.float32), "boxes": boxes} for _ in range(count)]
        return model, CaptionCollator(TOKENIZER, WORDS, max_length=7), rows
    processor = ViTImageProcessor(size={"height": SIDE, "width": SIDE})
    rows = [{"image": Image.fromarray(draw.integers(0, 255, (SIDE, SIDE, 3), np.uint8))} for _ in range(count)]
    made = {"image_processor": processor, "decoder": name == "vit and gpt2", "max_length": 7}
    return model, CaptionCollator(TOKENIZER, WORDS, **made), rows


@pytest.mark.parametrize("search", [{"do_sample": False}, {"num_beams": 3}, {"do_sample": True}], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_one_image_is_said_as_among_others(name, search):
    model, collator, rows = given(name, 3)
    torch.manual_seed(1)
    [alone] = generate_captions(model, collator, rows[:1], **search)
    assert set(alone.split()) <= {"a", "dog", "and", "cat", "it", "is", "red", "[UNK]"}
    assert len(alone.split()) <= 7
    if "do_sample" not in search or not search["do_sample"]:
        together = generate_captions(model, collator, rows, **search)
        assert together[0] == alone
        assert together == generate_captions(model, collator, rows, batch_size=1, **search)


@pytest.mark.parametrize("name", MODELS)
def test_one_image_trains(name):
    """A batch of one, with a visual word and without."""
    model, collator, rows = given(name, 1)
    for caption in ("a dog", "it is red"):
        masks = [encode_mask("dog", np.eye(SIDE, dtype=bool))]
        batch = collator([{**rows[0], "caption": caption, "segmentations": masks}])
        assert len(batch["row"]) == ("dog" in caption)
        prefix = "decoder_" if collator.decoder else ""
        names = (f"{prefix}input_ids", f"{prefix}attention_mask", "pixel_values", "visual_feats")
        logits = model(**{name: batch[name] for name in names if name in batch}).logits
        assert logits.shape == (*batch["labels"].shape, len(TOKENIZER))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_ends_elsewhere_is_refused(name):
    model, collator, rows = given(name, 1, end=5)
    with pytest.raises(
        ValueError, match=rf"end with token 2, and generate\(\) of {type(model).__name__} ends at \[5\]"
    ):
        generate_captions(model, collator, rows)
    if name == "blip":
        return
    model.generation_config.eos_token_id = [5, 2]
    assert len(generate_captions(model, collator, rows)) == 1


def test_a_model_without_an_end_is_refused():
    model, collator, rows = given("vit and gpt2", 1, end=None)
    with pytest.raises(
        ValueError, match=r"has no token of the end, so it would never end\. Set model\.generation_config"
    ):
        generate_captions(model, collator, rows)
    for ends in (
        {"eos_token_id": 2},
        {"generation_config": GenerationConfig(eos_token_id=2, bos_token_id=1, pad_token_id=0)},
    ):
        assert len(generate_captions(model, collator, rows, **ends)) == 1


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, "3"])
def test_batches_without_an_image_are_refused(batch_size):
    with pytest.raises(ValueError, match=rf"batch_size={batch_size!r}: give a whole number of at least 1"):
        generate_captions(*given("updn", 1), batch_size=batch_size)


def test_rows_without_features_are_named():
    model, collator, rows = given("updn", 2)
    assert generate_captions(model, collator, []) == []
    with pytest.raises(ValueError, match=r"row 1 of the batch \(caption_id None\) has no column 'features'"):
        generate_captions(model, collator, [rows[0], {"boxes": [[0, 0, 1, 1]]}])
    looked_up = CaptionCollator(TOKENIZER, WORDS, regions={"1": (rows[0]["features"], np.array(rows[0]["boxes"]))})
    with pytest.raises(ValueError, match=r"row 1 .*: no image features\. 2"):
        generate_captions(model, looked_up, [{"image_id": 1}, {"image_id": 2}])
