"""The study of captioners: what is asked about, against autograd of the words; and the simulated rater."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from comparisons import comparison_folder
from toy_captioners import MADE, SIZE

from hf_guidance import dataset_builder
from hf_guidance.apps.annotation.store import AnswerStore
from hf_guidance.apps.trust_study import ComparisonFolder, study_preference, write_caption_study
from hf_guidance.data import CaptionCollator, VisualWords, encode_mask
from hf_guidance.evaluation import explain_words
from hf_guidance.evaluation.figures import on_pixels
from hf_guidance.models import UpDnCaptionerConfig, UpDnForImageCaptioning, caption_tokenizer

SHAPES = ("circle", "square", "triangle", "diamond", "cross")


@pytest.fixture(scope="module")
def rows():
    builder = dataset_builder(
        "shapes_captions", seed=0, images=True, train_size=6, dev_size=0, test_id_size=0, test_ood_size=0
    )
    builder.download_and_prepare()
    return builder.as_dataset("train")


@pytest.fixture(scope="module")
def collator(rows):
    return CaptionCollator(caption_tokenizer(rows["caption"]), VisualWords.from_names(SHAPES))


@pytest.fixture(scope="module")
def models(rows, collator):
    found = {}
    for seed, name in enumerate(("unguided", "hint")):
        torch.manual_seed(seed)
        config = UpDnCaptionerConfig(
            len(collator.tokenizer), word_size=8, hidden_size=12, attention_size=8, visual_feat_dim=len(rows[0]["features"][0])
        )  # fmt: skip
        found[name] = UpDnForImageCaptioning(config).eval()
    return found


@pytest.fixture(scope="module")
def folder(rows, collator, models, tmp_path_factory):
    return write_caption_study(models, collator, rows, tmp_path_factory.mktemp("study") / "trust")


def test_a_word_and_the_whole_caption(folder, rows, collator, models):
    items = ComparisonFolder(folder)
    assert (len(items), items.models) == (len(rows), ("unguided", "hint"))
    for place in (0, 3):
        item, row = items[place], rows[place]
        first = next(word for word in row["caption"].split() if word in SHAPES)
        assert (item.text, item.parts) == (row["caption"], (first, "the whole caption"))
        assert items.ids[place].startswith(f"{row['caption_id']}:")
        batch = collator([row])
        time = row["caption"].split().index(first)
        for number, model in enumerate(models.values()):
            features = batch["visual_feats"].clone().requires_grad_()
            given = {
                name: batch[name] for name in ("input_ids", "attention_mask", "visual_pos", "visual_attention_mask")
            }
            logits = model(visual_feats=features, **given).logits[0]
            said = batch["labels"][0]
            word = logits[time, said[time]]
            caption = sum(logits[index, label] for index, label in enumerate(said[:-1]))
            for part, score in enumerate((word, caption)):
                (gradient,) = torch.autograd.grad(score, features, retain_graph=True)
                drawn = on_pixels(gradient[0].sum(-1).numpy(), batch["visual_pos"][0].numpy(), (64, 64))
                assert np.abs(item.maps[number, part] - drawn).max() < 1e-4 * np.abs(drawn).max()


def test_more_words_of_a_caption(rows, collator, models, tmp_path):
    items = ComparisonFolder(write_caption_study(models, collator, rows, tmp_path / "trust", words_per_caption=2))
    assert len(items) > len(rows)
    assert len(set(items.ids)) == len(items)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": {}}, r"there are 0 models, \[\]; give two"),
        ({"collator": "short"}, "6 of 6 captions have more than max_length=4 tokens"),
        ({"words_per_caption": 0}, "words_per_caption=0; give a whole number"),
        ({"collator": VisualWords.from_names(["dog"])}, "none of the 6 captions has a visual word"),
    ],
)
def test_what_is_refused(rows, collator, models, tmp_path, change, message):
    options = {"models": models, "collator": collator} | change
    if isinstance(options["collator"], VisualWords):
        options["collator"] = CaptionCollator(collator.tokenizer, options["collator"])
    elif options["collator"] == "short":
        options["collator"] = replace(collator, max_length=4)
    with pytest.raises(ValueError, match=message):
        write_caption_study(rows=rows, folder=tmp_path / "trust", **options)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def rater(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "examples"))
    return importlib.import_module("simulated_rater")


def test_a_simulated_rater_prefers_energy_on_the_object(rater, tmp_path):
    items = ComparisonFolder(comparison_folder(tmp_path / "trust", 40))
    masks = [np.zeros((96, 128), bool) for _ in range(40)]
    for mask in masks[:30]:
        mask[48:, 64:] = True  # where the second model looks
    for mask in masks[30:]:
        mask[:48, :64] = True
    with AnswerStore(tmp_path / "answers.sqlite", items.fingerprint, len(items), items.scale) as store:
        for number in (1, 2):
            rater.rate_all(items, store, masks, f"simulated rater {number}", seed=0)
        found = study_preference(items, store, samples=100)
    assert (found.raters, found.ratings) == (2, 80)
    assert (found.prefer_second.mean, found.prefer_first.mean) == (0.75, 0.25)
    assert (found.counts[2], found.counts[-2]) == (60, 20)
    assert found.prefer_shown_first == pytest.approx(0.5, abs=0.1), "places tell it nothing"


def test_what_a_simulated_rater_says(rater):
    assert [rater.rated(d) for d in (-0.9, -0.2, 0.0, 0.04, 0.06, 0.3)] == ["-2", "-1", "0", "0", "1", "2"]
    values, mask = np.array([[1.0, -5.0], [3.0, 0.0]]), np.zeros((4, 4), bool)
    mask[2:, :2] = True
    assert rater.energy_on(values, mask) == pytest.approx(0.75)
    assert rater.energy_on(-np.ones((2, 2)), mask) == 0


def test_nothing_is_explained_for_a_folder_that_is_full(rows, collator, models, folder, monkeypatch):
    monkeypatch.setattr("hf_guidance.apps.trust_study.captions.explain_words", lambda *args: pytest.fail("explained"))
    with pytest.raises(ValueError, match="is there already"):
        write_caption_study(models, collator, rows, folder)


def test_maps_of_pixels_stay_as_they_are(tmp_path):
    left = np.zeros((SIZE, SIZE), bool)
    left[:, : SIZE // 2] = True
    masks = [encode_mask("circle", left), encode_mask("square", ~left)]
    row = {
        "caption_id": "0",
        "caption": "circle square",
        "segmentations": masks,
        "pixel_values": torch.rand(3, SIZE, SIZE),
    }
    pixels = CaptionCollator(caption_tokenizer([row["caption"]]), VisualWords.from_names(SHAPES), decoder=True)
    models = {"unguided": MADE["vit and gpt2"]().float(), "hint": MADE["vit and gpt2"]().float()}
    items = ComparisonFolder(write_caption_study(models, pixels, [row], tmp_path / "trust"))
    found = explain_words(models["hint"], pixels, [row])[0]
    assert items[0].maps.shape == (2, 2, SIZE, SIZE)
    assert np.allclose(items[0].maps[1, 0], found.attribution)
