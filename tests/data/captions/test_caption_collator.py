"""CaptionCollator: what comes out, what is counted, and what every bad row says."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, ViTImageProcessor

from hf_guidance.data import CaptionCollator, VisualWords, encode_mask, with_annotated_fraction, word_importance
from hf_guidance.models import caption_tokenizer

WORDS = VisualWords({"dog": "dog", "puppy": "dog", "cat": "cat", "hot dog": "hot dog"})
CAPTIONS = ["A dog and a cat.", "a hot dog", "the puppy", "it is red"]
BOXES = [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0.25, 0, 1, 0.75]]
LEFT = np.zeros((8, 10), bool)
LEFT[:, :5] = True
MASKS = [
    encode_mask("dog", LEFT),
    encode_mask("cat", ~LEFT),
    encode_mask("hot dog", LEFT.T[:8, :8].repeat(2, 1)[:, :10]),
]
TOKENIZER = caption_tokenizer(CAPTIONS)
PAD, BEGIN, END, UNKNOWN = 0, 1, 2, 3


def row(number=0, objects=3, **columns):
    features = np.random.default_rng(number).normal(size=(objects, 4)).astype(np.float32)
    fields = {
        "caption_id": str(number),
        "image_id": f"i{number}",
        "caption": CAPTIONS[number % 4],
        "segmentations": MASKS,
    }
    return {**fields, "features": features.tolist(), "boxes": BOXES[:objects], **columns}


def collator(**options):
    return CaptionCollator(**{"tokenizer": TOKENIZER, "words": WORDS, **options})


def ids(*words):
    return TOKENIZER.convert_tokens_to_ids(list(words))


def test_the_batch():
    batch = collator()([row(0), row(1, objects=2), row(3, 1)])
    shapes = {name: (tuple(value.shape), value.dtype) for name, value in batch.items() if hasattr(value, "shape")}
    assert shapes == {
        "visual_feats": ((3, 3, 4), torch.float32),
        "visual_pos": ((3, 3, 4), torch.float32),
        "visual_attention_mask": ((3, 3), torch.int64),
        "input_ids": ((3, 6), torch.int64),
        "attention_mask": ((3, 6), torch.int64),
        "labels": ((3, 6), torch.int64),
        "target": ((3,), torch.int64),
        "word_tokens": ((3, 2), torch.int64),
        "importance": ((3, 3), torch.float32),
        "random_importance": ((3, 3), torch.float32),
    }
    assert batch["input_ids"].tolist() == [
        [BEGIN, *ids("a", "dog", "and", "a", "cat")],
        [BEGIN, *ids("a", "hot", "dog"), PAD, PAD],
        [BEGIN, *ids("it", "is", "red"), PAD, PAD],
    ]
    assert batch["labels"].tolist() == [
        [*ids("a", "dog", "and", "a", "cat"), END],
        [*ids("a", "hot", "dog"), END, -100, -100],
        [*ids("it", "is", "red"), END, -100, -100],
    ]
    assert batch["attention_mask"].tolist() == [[1] * 6, [1] * 4 + [0] * 2, [1] * 4 + [0] * 2]
    assert (batch["row"], batch["slot"], batch["time"]) == ([0, 0, 1], [0, 1, 0], [1, 4, 1])
    assert batch["target"].tolist() == ids("dog", "cat", "hot")  # a name of two words is explained at its first
    assert batch["word_tokens"].tolist() == [[*ids("dog"), -1], [*ids("cat"), -1], ids("hot", "dog")]
    assert batch["annotated"] == [True, True, True]
    for number, (image, time) in enumerate(zip(batch["row"], batch["time"], strict=True)):
        assert batch["labels"][image, time] == batch["target"][number]
    expected = [each.importance for each in word_importance(CAPTIONS[0], MASKS, BOXES, WORDS)]
    assert np.array_equal(batch["importance"][:2], expected)
    assert not batch["importance"][2, 2:].any()
    assert not batch["random_importance"][2, 2:].any()
    assert (batch["random_importance"][:2] > 0).all()


def test_share_of_boxes_and_random_numbers_that_stay():
    first, again = (collator(score="share")([row(0), row(2)]) for _ in range(2))
    other = collator(seed=1)([row(2), row(0)])
    assert first["importance"][0].tolist() == pytest.approx([1, 0, 3 / 8])  # of the columns 2 to 9 those below 5
    assert torch.equal(first["random_importance"], again["random_importance"])
    assert not torch.equal(first["random_importance"][0], other["random_importance"][1])


def test_words_that_are_not_explained_are_counted():
    collate = collator(max_length=4)
    batch = collate(
        [
            row(0),
            row(3),
            row(2, segmentations=MASKS[1:2]),
            row(2, caption="A puppy, a zebra"),
            row(2, segmentations=None),
        ]
    )
    assert (batch["row"], batch["slot"]) == ([0, 3], [0, 0])
    assert collate.counts == {
        "captions cut at max_length": 1,
        "visual words beyond max_length": 1,
        "captions without visual word": 1,
        "visual words whose category has no mask": 2,
        "unknown words": 1,
    }
    assert batch["labels"][0].tolist() == [*ids("a", "dog", "and", "a"), -100]  # it does not end there
    assert batch["input_ids"][0].tolist() == [BEGIN, *ids("a", "dog", "and", "a")]
    few = collator(tokenizer=caption_tokenizer(["a the"]))
    assert few([row(2)])["row"] == []
    assert few.counts == {"unknown words": 1, "visual words that the vocabulary lacks": 1}
    assert few.for_evaluation().counts is few.counts


def test_without_explained_words():
    batch = collator()([row(3)])
    assert batch["row"] == batch["annotated"] == []
    assert batch["importance"].shape == batch["random_importance"].shape == (0, 3)
    assert batch["target"].shape == (0,)


def test_rows_to_be_captioned():
    batch = collator()([{"features": row()["features"], "boxes": BOXES}])
    assert sorted(batch) == ["visual_attention_mask", "visual_feats", "visual_pos"]


def test_a_fraction_that_is_annotated():
    entries = [row(number % 3, caption_id=str(number), caption=CAPTIONS[number % 3]) for number in range(50)]
    data = with_annotated_fraction(datasets.Dataset.from_list(entries), 0.06, seed=1)
    batch = collator()([data[index] for index in range(50)])
    full = collator()(entries)
    assert batch["row"] == full["row"]  # the words stay, so that what is drawn does not depend on annotation
    used = {index for index in range(50) if data[index]["annotated"]}
    assert len(used) == 3
    assert batch["annotated"] == [index in used for index in batch["row"]]
    assert torch.equal(batch["importance"][batch["annotated"]], full["importance"][batch["annotated"]])
    assert not batch["importance"][[not flag for flag in batch["annotated"]]].any()


def test_boxes_are_looked_up():
    own = row(0)
    regions = {"i0": (np.array(own["features"], np.float32), np.array(BOXES, np.float32))}
    bare = {key: value for key, value in own.items() if key not in ("features", "boxes")}
    batch, expected = collator(regions=regions)([bare]), collator()([own])
    assert all(torch.equal(torch.as_tensor(batch[name]), torch.as_tensor(expected[name])) for name in expected)
    collator(regions=regions).check_rows([bare], "train")
    with pytest.raises(ValueError, match=r"train: 1 of 1 images have no features"):
        collator(regions={}).check_rows([bare], "train")
    with pytest.raises(ValueError, match=r"row 0 .*caption_id '0'\): no image features"):
        collator(regions={})([bare])
    with pytest.raises(ValueError, match=r"no column 'features' and the collator no regions"):
        collator()([bare])


def test_pixels():
    processor = ViTImageProcessor(size={"height": 16, "width": 20}, resample=Image.Resampling.NEAREST)
    picture = Image.fromarray(np.uint8(LEFT * 255)).convert("RGB")
    batch = collator(image_processor=processor)([row(0, image=picture), row(2, image=picture, annotated=False)])
    assert batch["pixel_values"].shape == (2, 3, 16, 20)
    assert batch["importance"].shape == batch["random_importance"].shape == (3, 16, 20)
    seen = batch["pixel_values"][0, 0] > 0
    assert torch.equal(batch["importance"][0] == 1, seen)
    assert torch.equal(batch["importance"][1] == 1, ~seen)
    assert batch["annotated"] == [True, True, False]
    ready = collator()([{**row(0), "pixel_values": np.zeros((3, 8, 10), np.float32)}])
    assert np.array_equal(ready["importance"][0], LEFT)
    with pytest.raises(ValueError, match=r"masks are \(8, 10\), the image \(10, 8\) \(height, width\)"):
        collator(image_processor=processor)([row(0, image=picture.resize((8, 10)))])


def pieces(**special):
    """A tokenizer that cuts words into their letters."""
    letters = [*"abcdefghijklmnopqrstuvwxyz", "<u>", "<s>", "</s>"]
    backend = Tokenizer(models.WordLevel({letter: index for index, letter in enumerate(letters)}, unk_token="<u>"))
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Split("", "isolated")])
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def test_a_word_of_several_tokens_is_explained_at_its_first():
    tokenizer = pieces(cls_token="<s>", sep_token="</s>", unk_token="<u>")
    batch = collator(tokenizer=tokenizer)([row(caption="a dog, a cat")])
    assert batch["time"] == [1, 6]
    assert tokenizer.convert_ids_to_tokens(batch["target"]) == ["d", "c"]
    assert tokenizer.convert_ids_to_tokens([int(batch["input_ids"][0, 0]), int(batch["labels"][0, -1])]) == [
        "<s>",
        "</s>",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer": pieces(bos_token="<s>")}, r"no token of the end of a caption \(eos_token or sep_token\)"),
        ({"tokenizer": pieces(eos_token="</s>")}, r"no token of the beginning of a caption \(bos_token or cls_token\)"),
        ({"tokenizer": str.split}, r"does not tell which characters a token is made of"),
        ({"max_length": 0}, r"max_length=0 leaves no token"),
        ({"score": "iou"}, r"score"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        collator(**options)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"caption": " "}, r"row 1 of the batch \(caption_id '2'\): the caption is ' '"),
        ({"caption": None}, r"the caption is None; allowed is text"),
        ({"caption": "..."}, r"'\.\.\.' holds no word"),
        ({"segmentations": 3}, r"row 1 .*segmentations are 3"),
        ({"segmentations": [{"category": "dog"}]}, r"row 1 .*segmentations\[0\] is"),
        ({"boxes": None}, r"row 1 .* has features but no boxes"),
        ({"boxes": [[0, 0, 2, 1]] * 3}, r"row 1 .*boxes reach from 0 to 2"),
        ({"features": [[1.0]] * 3}, r"features have \[1, 4\] numbers per box in one batch"),
    ],
)
def test_bad_rows_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        collator()([row(0), row(2, **changed)])


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="the batch is empty"):
        collator()([])


def test_a_word_of_which_a_token_is_cut_is_not_explained():
    made = collator(max_length=2)
    batch = made([row(1)])
    assert batch["row"] == []
    assert batch["word_tokens"].shape == (0, 1)
    assert made.counts["visual words beyond max_length"] == 1


def test_words_of_a_decoder():
    plain, named = (collator(decoder=decoder)([row(0), row(1)]) for decoder in (False, True))
    assert torch.equal(named.pop("decoder_input_ids"), plain.pop("input_ids"))
    assert torch.equal(named.pop("decoder_attention_mask"), plain.pop("attention_mask"))
    assert named.keys() == plain.keys()


def test_a_caption_as_one_word():
    words, whole = (collator(explain=name)([row(0), row(1), row(3)]) for name in ("words", "caption"))
    assert (whole["row"], whole["slot"], whole["time"]) == ([0, 1, 2], [0, 0, 0], [0, 0, 0])
    for image, tokens in enumerate(whole["word_tokens"].tolist()):
        said = [label for label in whole["labels"][image].tolist() if label >= 0][:-1]  # without the end
        assert [token for token in tokens if token >= 0] == said
    assert (whole["annotated"], whole["importance"].shape) == ([False] * 3, (3, 3))
    for name in ("input_ids", "labels", "visual_feats"):
        assert torch.equal(whole[name], words[name])
    with pytest.raises(ValueError, match="'captions'"):
        collator(explain="captions")
