"""UpDn for captions: its formulas written out with torch's own LSTM cells, padding, generate(), saving, and bad input."""

import pytest
import torch
from tiny import relative_error
from toy_captions import BEGIN, DIMS, END, IMAGES, PAD, TIMES, WORDS, caption_batch, captioner
from transformers import AutoConfig, AutoModelForImageTextToText

from hf_guidance.models import UpDnCaptionerConfig, UpDnForImageCaptioning

MADE = {name: caption_batch()[name] for name in ("input_ids", "visual_feats", "visual_attention_mask")}


def by_hand(model, input_ids, features, mask):
    """Equations 2 to 8 of arXiv 1707.07998, one image and one time after the other, on its real boxes alone."""
    every = []
    for image in range(len(input_ids)):
        boxes = features[image][mask[image].bool()]
        h1 = c1 = h2 = c2 = torch.zeros(1, model.config.hidden_size, dtype=torch.float64)
        logits = []
        for word in input_ids[image]:
            seen = torch.cat([h2[0], boxes.mean(0), model.words(word)])[None]
            h1, c1 = model.attention_lstm(seen, (h1, c1))
            scores = [
                model.attention_score.weight[0] @ torch.tanh(model.box_projection(box) + model.state_projection(h1[0]))
                for box in boxes
            ]
            attention = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
            h2, c2 = model.language_lstm(torch.cat([attention @ boxes, h1[0]])[None], (h2, c2))
            logits.append(model.output(h2[0]))
        every.append(torch.stack(logits))
    return torch.stack(every)


def test_the_formulas_of_the_paper():
    model = captioner().eval()
    output = model(**MADE)
    expected = by_hand(model, *MADE.values())
    assert output.logits.shape == (IMAGES, TIMES, WORDS)
    assert relative_error(output.logits, expected) < 1e-12
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    names = [name for name, _ in model.named_parameters()]
    found, wanted = (
        torch.autograd.grad((logits * weights).sum(), list(model.parameters())) for logits in (output.logits, expected)
    )
    for name, ours, theirs in zip(names, found, wanted, strict=True):
        assert relative_error(ours, theirs) < 1e-10, name
    assert torch.allclose(output.attention.sum(-1), torch.ones(IMAGES, TIMES, dtype=torch.float64))
    assert not output.attention[1, :, 3:].any()


def test_what_stands_behind_a_word_changes_nothing():
    model, longer = captioner().eval(), dict(MADE)
    longer["input_ids"] = torch.nn.functional.pad(MADE["input_ids"], (0, 2), value=PAD)
    assert relative_error(model(**longer).logits[:, :TIMES], model(**MADE).logits) < 1e-14
    other = MADE["visual_feats"].clone()
    other[1, 3:] = 7.0  # boxes that are padding
    assert relative_error(model(**MADE | {"visual_feats": other}).logits, model(**MADE).logits) < 1e-14


def test_the_loss_of_labels():
    model, labels = captioner().eval(), caption_batch()["labels"]
    output = model(**MADE, labels=labels)
    scores = output.logits.log_softmax(-1)
    said = [-scores[image, time, labels[image, time]] for image, time in (labels != -100).nonzero().tolist()]
    assert len(said) == 5 + 3 + 4 + IMAGES
    assert output.loss.item() == pytest.approx(torch.stack(said).mean().item(), rel=1e-12)


def greedy(model, features, mask, length):
    words = torch.full((len(features), 1), BEGIN)
    for _ in range(length):
        following = model(words, features, visual_attention_mask=mask).logits[:, -1].argmax(-1)
        ended = (words == END).any(1)
        words = torch.cat([words, torch.where(ended, PAD, following)[:, None]], 1)
    return words


@pytest.mark.parametrize("images", [1, IMAGES])
def test_generate(images):
    model = captioner().eval()
    given = {name: MADE[name][:images] for name in ("visual_feats", "visual_attention_mask")}
    ours = model.generate(**given, do_sample=False, max_new_tokens=5)
    assert torch.equal(ours, greedy(model, *given.values(), ours.shape[1] - 1))
    assert (ours[:, 0] == BEGIN).all()
    beams = model.generate(**given, num_beams=3, max_new_tokens=5, output_scores=True, return_dict_in_generate=True)
    one = model.generate(**given, num_beams=3, max_new_tokens=5, num_return_sequences=3)
    assert torch.equal(one[::3], beams.sequences)
    torch.manual_seed(0)
    drawn = model.generate(**given, do_sample=True, max_new_tokens=5)
    assert len(drawn) == images


def test_beams_find_the_likeliest_caption():
    """All captions of two words are few enough to try."""
    model = captioner().eval()
    given = {name: MADE[name][:1] for name in ("visual_feats", "visual_attention_mask")}
    every = torch.cartesian_prod(torch.tensor([BEGIN]), *[torch.arange(WORDS)] * 2)
    repeated = {name: value.expand(len(every), *value.shape[1:]) for name, value in given.items()}
    scores = model(every[:, :2], **repeated).logits.log_softmax(-1).gather(2, every[:, 1:, None])[..., 0].sum(1)
    found = model.generate(**given, num_beams=WORDS, max_new_tokens=2, min_new_tokens=2, length_penalty=0.0)
    scores[(every[:, 1:] == END).any(1)] = -torch.inf  # the end may not come before two words
    assert torch.equal(found[0], every[scores.argmax()])


def test_it_is_saved_and_loaded(tmp_path):
    model = captioner().eval()
    model.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float64)
    assert isinstance(again, UpDnForImageCaptioning)
    assert relative_error(again(**MADE).logits, model(**MADE).logits) < 1e-14
    assert again.generation_config.use_cache is not False
    assert AutoConfig.from_pretrained(tmp_path).attention_size == 6
    sizes = UpDnCaptionerConfig()
    assert (sizes.word_size, sizes.hidden_size, sizes.attention_size, sizes.visual_feat_dim) == (1000, 1000, 512, 2048)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"visual_feats": None}, "visual_feats"),
        ({"visual_feats": torch.zeros(IMAGES, 5, DIMS + 1, dtype=torch.float64)}, "visual_feats"),
        ({"input_ids": None}, "input_ids has shape None"),
        ({"input_ids": MADE["input_ids"][:2]}, "input_ids has 2 captions, visual_feats 3 images"),
        ({"input_ids": MADE["input_ids"] + WORDS}, r"UpDnCaptionerConfig\(vocab_size"),
        ({"labels": torch.zeros(IMAGES, 2, dtype=torch.long)}, "labels has shape"),
        ({"visual_attention_mask": torch.ones(IMAGES, 4)}, "visual_attention_mask of shape"),
    ],
)
def test_bad_input_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        captioner()(**MADE | given)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab_size": 0}, "vocab_size=0"),
        ({"hidden_size": 2.5}, "hidden_size=2.5"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"vocab_size": 2}, "eos_token_id=2"),
        ({"eos_token_id": None}, "eos_token_id=None"),
        ({"pad_token_id": 1}, "two of the special tokens are one"),
    ],
)
def test_bad_sizes_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        UpDnCaptionerConfig(**fields)
