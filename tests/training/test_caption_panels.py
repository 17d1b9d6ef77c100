"""Panels of captions: a picture for each visual word, over boxes or pixels, and no trace in training."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from test_caption_training import TOKENIZER, row, trainer_of
from toy_captioners import MADE, SIZE

from hf_guidance import AttributionPanel, Grounding, Guidance, GuidanceArguments, GuidedTrainer, recipes
from hf_guidance.attributions import Gradient, InputXGradient, WordLogit
from hf_guidance.data import CaptionCollator, VisualWords
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.objectives import CaptionLoss
from hf_guidance.training.panels.drawing import panel_picture
from hf_guidance.training.panels.maps import panel_maps
from hf_guidance.training.panels.rows import panel_rows

METHOD = Gradient(target=WordLogit())
HINT = recipes.hint_captions(task=1.0)


def drawn_of(trainer, rows=None, method=METHOD):
    return panel_maps(trainer, panel_rows(trainer, rows, 8), method).drawn


def test_every_visual_word_is_a_picture_titled_by_it(tmp_path):
    rows = [row(0), row(1)]  # "a dog and a cat and a dog", "the cat sits"
    trainer = trainer_of(tmp_path, rows, HINT)
    drawn = drawn_of(trainer)
    read, words = zip(*(one.title.split("\n") for one in drawn), strict=True)
    assert [word.split(" ")[0] for word in words] == ["dog", "cat", "dog", "cat"]
    assert read == ("a dog", "a dog and a cat", "a dog and a cat and a dog", "the cat")  # up to the word
    batch = trainer.data_collator(rows)
    model = trainer.model.eval()
    shares = (
        model(**{name: batch[name] for name in ("input_ids", "visual_feats", "visual_attention_mask")})
        .logits.detach()
        .softmax(-1)
    )
    for place, word in enumerate(words):
        image, time = batch["row"][place], batch["time"][place]
        assert float(word.split(" ")[1]) == pytest.approx(float(shares[image, time, batch["target"][place]]), abs=0.006)
        best = int(shares[image, time].argmax())
        assert (" → " in word) == (best != int(batch["target"][place]))
        if " → " in word:
            assert word.split(" → ")[1].split(" ")[0] == TOKENIZER.decode([best])


def test_the_map_of_a_word_lies_on_its_boxes(tmp_path):
    rows = [row(0), row(1)]
    rows[1] = rows[1] | {name: rows[1][name][:2] for name in ("boxes", "features")}  # padded in the batch
    trainer = trainer_of(tmp_path, rows, HINT)
    drawn = drawn_of(trainer)
    model, batch = trainer.model.eval(), trainer.data_collator(rows)
    with torch.no_grad():
        maps = Forward(model, family_of(model), batch, METHOD.needs()).attribution(METHOD)
    for place, one in enumerate(drawn[:3]):  # boxes: left half, right three quarters, right half
        first, wide, right = maps[place].tolist()
        assert one.picture.shape == (160, 160, 3)
        assert one.attribution[80, [10, 60, 130]] == pytest.approx(
            [first, (first + wide) / 2, (wide + right) / 2], rel=1e-4
        )
    first, wide = maps[3].tolist()[:2]
    assert drawn[3].attribution[80, [10, 60, 130]] == pytest.approx([first, (first + wide) / 2, wide], rel=1e-4)
    dog, cat = drawn[0].importance, drawn[1].importance
    assert dog[80, 10] > dog[80, 130]
    assert cat[80, 130] > cat[80, 10]


def test_an_image_of_the_row_is_what_boxes_lie_on(tmp_path):
    pictured = row(0) | {"image": Image.new("RGB", (80, 40), (0, 0, 255))}
    trainer = trainer_of(tmp_path, [pictured], HINT)
    drawn = drawn_of(trainer, [pictured])
    assert drawn[0].picture.shape == (40, 80, 3)
    assert (drawn[0].picture == [0, 0, 1]).all()
    tall = row(1) | {"image": Image.new("RGB", (40, 80), (0, 0, 255))}
    maps = panel_maps(trainer, panel_rows(trainer, [pictured, tall], 2), METHOD)
    assert min(panel_picture(maps, "step 0").shape[:2]) > 300


def test_words_without_annotation_have_no_outline(tmp_path):
    trainer = trainer_of(tmp_path, [row(0), row(1) | {"annotated": False}], HINT)
    drawn = drawn_of(trainer, [0, 1])
    assert [one.importance is None for one in drawn] == [False, False, False, True]
    assert np.isfinite(panel_picture(panel_maps(trainer, panel_rows(trainer, [0, 1], 2), METHOD), "step 0")).all()


def test_a_caption_without_a_visual_word_is_told(tmp_path):
    trainer = trainer_of(tmp_path, [row(0), row(2)], HINT)
    assert len(drawn_of(trainer)) == 3  # chosen are rows with a word
    with pytest.raises(ValueError, match=r"row 1 of eval_dataset has no visual word, .* give rows with a visual word"):
        drawn_of(trainer, [0, 1])


@pytest.mark.parametrize(
    "guidance", [HINT, Guidance(task=CaptionLoss()), recipes.hint_captions(task=1.0, attention=True)]
)
def test_training_is_the_same_with_a_panel(tmp_path, guidance):
    ends = []
    for name, panels in (("with", [AttributionPanel(every_steps=1)]), ("without", [])):
        trainer = trainer_of(tmp_path / name, [row(0), row(1)], guidance)
        for panel in panels:
            trainer.add_callback(panel)
        trainer.train()
        ends.append((trainer.model.state_dict(), torch.get_rng_state()))
    assert all(torch.equal(value, ends[1][0][name]) for name, value in ends[0][0].items())
    assert torch.equal(ends[0][1], ends[1][1])
    files = sorted(file.name for file in (tmp_path / "with" / "panels").glob("*.png"))
    assert files == ["step-000000.png", "step-000001.png", "step-000002.png"]
    record = json.loads((tmp_path / "with" / "panels" / "panels.json").read_text())
    assert "loss/task" in record["panels"][-1]["losses"]
    sizes = [Image.open(tmp_path / "with" / "panels" / file).size for file in files]
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("name", MADE)
def test_captioners_of_pixels(name, tmp_path):
    pixels = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    half = np.zeros((SIZE, SIZE), bool)
    half[:, : SIZE // 2] = True
    rows = [
        {"caption_id": text, "caption": text, "pixel_values": pixels, "segmentations": {"dog": half, "cat": ~half}}
        for text in ("a dog and a cat", "the cat sits")
    ]
    collator = CaptionCollator(TOKENIZER, VisualWords.from_names(["dog", "cat"]), decoder=name != "blip")
    args = GuidanceArguments(str(tmp_path), report_to="none", use_cpu=True, max_steps=1, save_strategy="no")
    trainer = GuidedTrainer(
        MADE[name]().float(), args, train_dataset=rows, data_collator=collator, processing_class=TOKENIZER,
        guidance=HINT, grounding=Grounding(METHOD), callbacks=[AttributionPanel()],
    )  # fmt: skip
    method = InputXGradient(layer="final", target=WordLogit())
    drawn = drawn_of(trainer, method=method)
    assert [one.title.split("\n")[1].split(" ")[0] for one in drawn] == ["dog", "cat", "cat"]
    batch = collator(rows)
    model = trainer.model.eval()
    with torch.no_grad():
        maps = Forward(model, family_of(model), batch, method.needs()).attribution(method)
    for one, small in zip(drawn, maps, strict=True):
        assert one.attribution.shape == one.importance.shape == one.picture.shape[:2] == (SIZE, SIZE)
        assert one.attribution.mean() == pytest.approx(float(small.mean()), rel=1e-3, abs=1e-7)
    assert (drawn[0].importance == half).all()
    assert (drawn[1].importance == ~half).all()
    trainer.train()
    assert len(list((tmp_path / "panels").glob("*.png"))) == 2
