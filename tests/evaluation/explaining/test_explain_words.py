"""explain_words: each word of a caption by itself, over boxes and pixels; and the figure of several models."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_model
from toy_captioners import MADE, SIZE
from toy_captions import DIMS, WORDS, caption_batch, captioner

from hf_guidance.attributions import Gradient, InputXGradient, LeaveOneOut, WordLogit
from hf_guidance.data import CaptionCollator, VisualWords, encode_mask
from hf_guidance.evaluation import explain_words, word_figure
from hf_guidance.evaluation.said_words import said_words, word_text
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.models import UpDnCaptionerConfig, UpDnForImageCaptioning, caption_tokenizer
from hf_guidance.views import zeros

TEXTS = ["a dog and a cat", "the cat sits", "it is red"]  # 2, 1 and 0 visual words
TOKENIZER = caption_tokenizer(TEXTS)
LEFT = np.zeros((8, 8), bool)
LEFT[:, :4] = True
BOXES = [[0, 0, 0.5, 1], [0.25, 0, 1, 1], [0.5, 0, 1, 1]]


def row(number, objects=3, **columns):
    draw = np.random.default_rng(number)
    masks = [encode_mask("dog", LEFT), encode_mask("cat", ~LEFT)]
    return {"caption_id": str(number), "caption": TEXTS[number % 3], "boxes": BOXES[:objects], "segmentations": masks,
            "features": draw.normal(size=(objects, DIMS)).astype(np.float32)} | columns  # fmt: skip


@pytest.fixture
def model():
    torch.manual_seed(0)
    sizes = {"word_size": 6, "hidden_size": 8, "attention_size": 5, "visual_feat_dim": DIMS}
    return UpDnForImageCaptioning(UpDnCaptionerConfig(len(TOKENIZER), **sizes)).double()


@pytest.fixture
def collator():
    return CaptionCollator(TOKENIZER, VisualWords.from_names(["dog", "cat"]))


ROWS = [row(0), row(2), row(1, objects=2), row(3)]


def one_word(model, given, word):
    """The gradient of a word's logit and the word's probability, by a call of its own."""
    ids = TOKENIZER(given["caption"], add_special_tokens=False)["input_ids"]
    read = torch.tensor([[TOKENIZER.bos_token_id, *ids]])
    features = torch.from_numpy(given["features"])[None].double().requires_grad_()
    time = given["caption"].split().index(word)
    logits = model.eval()(input_ids=read, visual_feats=features).logits[0, time]
    (gradient,) = torch.autograd.grad(logits[ids[time]], features)
    return gradient[0].sum(-1).numpy(), float(logits.detach().softmax(-1)[ids[time]])


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_words_are_those_of_one_call_each(model, collator, batch_size):
    found = explain_words(model, collator, ROWS, batch_size=batch_size)
    assert [(one.row, one.word.text, one.time) for one in found] == [
        (0, "dog", 1), (0, "cat", 4), (2, "cat", 1), (3, "dog", 1), (3, "cat", 4),
    ]  # fmt: skip
    for one in found:
        gradient, probability = one_word(model, ROWS[one.row], one.word.text)
        assert one.caption == ROWS[one.row]["caption"]
        assert np.allclose(one.attribution, gradient, rtol=2e-6, atol=1e-9)  # inputs are float32
        assert one.word.probability == pytest.approx(probability, rel=1e-5)
        assert one.boxes.tolist() == ROWS[one.row]["boxes"]
        assert (one.mask == (LEFT if one.word.text == "dog" else ~LEFT)).all()
        assert one.importance[0] == (1 if one.word.text == "dog" else 0)  # the left half


def test_the_model_is_left_as_it_was(model, collator):
    model.train()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    generator = torch.get_rng_state()
    explain_words(model, collator, ROWS)
    assert model.training
    assert all(parameter.requires_grad and bool((parameter.grad == 1).all()) for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


def test_other_methods(model, collator):
    lost = explain_words(model, collator, ROWS[:1], LeaveOneOut(target=WordLogit(), replace=zeros))[0]
    model.eval()
    batch = {name: column for name, column in collator(ROWS[:1]).items() if name in ("input_ids", "visual_feats")}
    batch["visual_feats"] = batch["visual_feats"].double()
    full = model(**batch).logits[0, 1, TOKENIZER.convert_tokens_to_ids("dog")]
    batch["visual_feats"][0, 1] = 0
    left = model(**batch).logits[0, 1, TOKENIZER.convert_tokens_to_ids("dog")]
    assert lost.attribution[1] == pytest.approx((full - left).item(), rel=1e-5)
    assert isinstance(lost.method, LeaveOneOut)


@pytest.mark.parametrize("name", MADE)
def test_captioners_of_pixels(name):
    net, pixels = MADE[name](), torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    half = np.zeros((SIZE, SIZE), bool)
    half[:, : SIZE // 2] = True
    rows = [
        {"caption": text, "pixel_values": pixels, "segmentations": {"dog": half, "cat": ~half}} for text in TEXTS[:2]
    ]
    reader = CaptionCollator(TOKENIZER, VisualWords.from_names(["dog", "cat"]), decoder=name != "blip")
    found = explain_words(net, reader, rows, InputXGradient(layer="final", target=WordLogit()))
    assert [one.word.text for one in found] == ["dog", "cat", "cat"]
    for one in found:
        assert one.boxes is None
        assert one.attribution.shape == (4, 4)
        assert one.on_image().shape == one.importance.shape == one.image.shape[:2] == (SIZE, SIZE)
    assert len(word_figure({"only": found}).axes) == 9


def test_probabilities_are_products_of_those_of_the_tokens():
    model, batch = captioner().eval(), caption_batch()
    method = Gradient(target=WordLogit())
    with torch.no_grad():
        forward = Forward(model, family_of(model), batch, method.needs())
        given = {name: batch[name] for name in ("input_ids", "visual_feats", "visual_attention_mask")}
        shares = model(**given).logits.softmax(-1)
    said = said_words(forward, None)
    for place, one in enumerate(said):
        image, time = batch["row"][place], batch["time"][place]
        tokens = [token for token in batch["word_tokens"][place].tolist() if token >= 0]
        expected = np.prod([float(shares[image, time + step, token]) for step, token in enumerate(tokens)])
        assert one.probability == pytest.approx(expected, rel=1e-5)
        assert one.text == " ".join(f"#{token}" for token in tokens)
        assert one.before == " ".join(f"#{token}" for token in batch["labels"][image, :time].tolist())
        best = int(shares[image, time].argmax())
        assert one.instead == (None if best == tokens[0] else f"#{best}")
        assert one.instead_probability == pytest.approx(float(shares[image, time].max()), rel=1e-5)
    assert len(said) == 7
    assert WORDS > 3
    assert word_text(TOKENIZER("a dog", add_special_tokens=False)["input_ids"], TOKENIZER) == "a dog"


def test_rows_that_are_not_annotated_have_no_importance(model, collator):
    (found,) = explain_words(model, collator, [row(1, annotated=False)])
    assert found.importance is None
    assert found.mask is not None


def test_a_row_with_an_image_is_shown_by_it(model, collator):
    picture = Image.new("RGB", (640, 320), (255, 0, 0))
    first, *_ = explain_words(model, collator, [row(0, image=picture)])
    assert first.image.shape == (160, 320, 3)
    assert (first.image == [1, 0, 0]).all()
    mixed = first.on_image()[80, [20, 100, 300]]
    a, b, c = first.attribution
    assert mixed == pytest.approx([a, (a + b) / 2, (b + c) / 2], rel=1e-4)
    assert first.on_image("sum")[80, 300] == pytest.approx(b + c, rel=1e-4)
    plain, *_ = explain_words(model, collator, [row(0)])
    assert plain.image.shape == (160, 160, 3)


def test_captions_without_visual_words_give_none(model, collator):
    assert explain_words(model, collator, [row(2)]) == []


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([], {}, "rows is empty; give at least one row with a caption"),
        ([row(0, caption=None)], {}, "rows have no captions, so there is no word to explain"),
        ([row(0)], {"batch_size": 0}, "batch_size=0; give a whole number"),
        ([row(0)], {"attribution": "Nothing"}, "attribution='Nothing' is unknown"),
    ],
)
def test_what_cannot_be_explained_is_refused(model, collator, given, options, message):
    with pytest.raises(ValueError, match=message):
        explain_words(model, collator, given, **options)


def test_a_model_without_words_is_refused(collator):
    with pytest.raises(ValueError, match="says no words; for images use explain, for questions explain_answer"):
        explain_words(tiny_model("resnet"), collator, ROWS)


def test_a_line_a_word_and_a_column_a_model(model, collator):
    found = explain_words(model, collator, ROWS)
    titles = [axis.get_title() for axis in word_figure({"before": found, "after": found}).axes]
    assert len(titles) == 5 * 4
    assert titles[:4] == [
        TEXTS[0],
        "“dog”\npeople",
        f"before\n{found[0].word.told()}",
        f"after\n{found[0].word.told()}",
    ]
    assert [title.split("\n")[0] for title in titles[1::4]] == ["“dog”", "“cat”", "“cat”", "“dog”", "“cat”"]


def test_people_are_shown_by_their_mask(model, collator):
    panel = word_figure({"a": explain_words(model, collator, [row(0)])}).axes[1]
    opaque = np.asarray(panel.images[1].get_array())[..., 3]
    assert (opaque[:, :70] > 0.5).all()
    assert not opaque[:, 90:].any()


def test_figures_of_other_words_are_refused(model, collator):
    found = explain_words(model, collator, ROWS)
    with pytest.raises(ValueError, match="'a' explains other words than 'b'; give explain_words"):
        word_figure({"a": found, "b": found[1:]})
    for nothing in ({}, {"a": []}):
        with pytest.raises(ValueError, match="there is no word to draw"):
            word_figure(nothing)
