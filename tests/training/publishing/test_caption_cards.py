"""Cards of captioners: their task, the words in their picture, and code that captions images."""

import numpy as np
import pytest
import torch
from cards_read import card_of
from PIL import Image
from test_caption_training import TOKENIZER, row, trainer_of
from toy_captioners import MADE, SIZE
from transformers import ViTImageProcessor

from hf_guidance import Grounding, Guidance, GuidanceArguments, GuidedTrainer, recipes
from hf_guidance.attributions import Gradient, WordLogit
from hf_guidance.data import CaptionCollator, VisualWords
from hf_guidance.evaluation import generate_captions
from hf_guidance.objectives import CaptionLoss
from hf_guidance.training.publishing import maps_picture
from hf_guidance.training.publishing.maps_picture import PICTURE

HINT = recipes.hint_captions(task=1.0)


@pytest.fixture
def drawn(monkeypatch):
    """What is given to the figure, each time."""
    calls, draw = [], maps_picture.attribution_figure
    monkeypatch.setattr(
        maps_picture,
        "attribution_figure",
        lambda rows, columns, path: calls.append((rows, columns)) or draw(rows, columns, path),
    )
    return calls


def code_in(card):
    return card.text.split("```python\n")[1].split("```")[0]


def run(code, folder, rows, monkeypatch, name):
    """Run the code of a card as a reader would, with the rows filled in; what it prints."""
    monkeypatch.chdir(folder.parent)
    code = code.replace(f"your-name/{name}", name).replace("rows = [...]", "rows = given")
    printed = []
    exec(code, {"given": rows, "print": printed.append})
    return printed[0]


def test_a_guided_captioner(tmp_path, drawn, monkeypatch):
    rows = [row(number) for number in range(4)]
    rows[1] = rows[1] | {name: rows[1][name][:2] for name in ("boxes", "features")}
    folder = tmp_path / "net"
    trainer = trainer_of(folder, rows, HINT)
    trainer.evaluate()
    trainer.train()
    trainer.evaluate()
    drawn.clear()
    trainer.save_model()
    card = card_of(folder)
    assert card.data.pipeline_tag == "image-to-text"
    assert {result.task_type for result in card.data.eval_results} == {"image-to-text"}
    assert "plausibility" in [result.metric_type for result in card.data.eval_results]
    assert "A `updn_captioner` model that captions images, trained with attribution guidance" in card.text
    assert "before training" in card.text
    assert "Only words and rows with annotations were guided" in card.text
    assert "**Importance is made of** masks" in card.text
    assert "for the word named" in card.text
    ((pictured, columns),) = drawn
    assert columns == ["before training", "after 2 steps"]
    names = [one["titles"]["image"].replace("\n", " ") for one in pictured]
    assert names == [
        "dog: a dog and a cat and a dog", "cat: a dog and a cat and a dog", "dog: a dog and a cat and a dog",
        "cat: the cat sits",
    ]  # fmt: skip
    assert (folder / PICTURE).stat().st_size > 5000
    pairs = trainer._maps(trainer._sample)
    assert [image for image, _, _ in pairs] == [0, 0, 0, 1]
    painted = np.unique(pictured[3]["after 2 steps"].round(6))
    assert set(painted) <= {0.0, *np.float64(pairs[3][1]).round(6)}  # of the second image, whose two boxes it has
    said = run(code_in(card), folder, rows, monkeypatch, "net")
    assert said == generate_captions(trainer.model, trainer.data_collator, rows)


def test_an_unguided_captioner_and_a_longer_caption(tmp_path):
    trainer = trainer_of(tmp_path, [row(0)], Guidance(task=CaptionLoss()))
    trainer.data_collator = CaptionCollator(TOKENIZER, trainer.data_collator.words, max_length=30)
    trainer.create_model_card()
    card = card_of(tmp_path)
    assert "model that captions images, trained without guidance" in card.text
    assert "collator = CaptionCollator(tokenizer, max_length=30)" in code_in(card)


def test_captions_without_a_visual_word_have_no_picture(tmp_path):
    trainer = trainer_of(tmp_path, [row(2)], HINT)
    trainer.create_model_card()
    assert not (tmp_path / PICTURE).exists()
    assert "captions images" in card_of(tmp_path).text


@pytest.mark.parametrize("name", MADE)
def test_captioners_of_pixels(name, tmp_path, drawn, monkeypatch):
    processor = ViTImageProcessor(size={"height": SIZE, "width": SIZE})
    draw = np.random.default_rng(0)
    half = np.zeros((20, 24), bool)
    half[:, :12] = True
    rows = [
        {
            "caption_id": text,
            "caption": text,
            "image": Image.fromarray(draw.integers(0, 256, (20, 24, 3), np.uint8)),
            "segmentations": {"dog": half, "cat": ~half},
        }
        for text in ("a dog and a cat", "the cat and the dog")
    ]
    model = MADE[name]().float()
    model.generation_config.eos_token_id = TOKENIZER.eos_token_id
    begin = 1 if name == "blip" else None
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = TOKENIZER.bos_token_id
    words = VisualWords.from_names(["dog", "cat"])
    options = {"decoder": name != "blip", "begin": begin, "max_length": 8}  # the models know 16 places
    collator = CaptionCollator(TOKENIZER, words, image_processor=processor, **options)
    folder = tmp_path / "net"
    args = GuidanceArguments(
        str(folder), report_to="none", use_cpu=True, max_steps=1, save_strategy="no", remove_unused_columns=False
    )
    trainer = GuidedTrainer(
        model, args, train_dataset=rows, data_collator=collator, processing_class=TOKENIZER, guidance=HINT,
        grounding=Grounding(Gradient(target=WordLogit())),
    )  # fmt: skip
    trainer.train()
    trainer.save_model()
    card = card_of(folder)
    assert card.data.pipeline_tag == "image-to-text"
    pictured, _ = drawn[-1]
    assert [one["titles"]["image"].split(":")[0] for one in pictured] == ["dog", "cat", "cat", "dog"]
    shown = np.asarray(rows[1]["image"].resize((SIZE, SIZE), Image.Resampling.BILINEAR)) / 255
    assert np.abs(pictured[2]["image"] - shown).mean() < 0.02
    assert pictured[0]["boxes"].tolist() == [[0, 0, SIZE / 2, SIZE]]
    code = code_in(card)
    assert ("decoder=True" in code) == (name != "blip")
    assert ("begin=1" in code) == (name == "blip")
    assert "processor = ...  # that of the training" in code
    assert code.count("from transformers import") == 1
    processor.save_pretrained(folder)
    torch.manual_seed(0)
    found = run(code.replace("...  # that of the training", "AutoImageProcessor.from_pretrained(repo)").replace(
        "import AutoTokenizer", "import AutoImageProcessor, AutoTokenizer"), folder, rows, monkeypatch, "net")  # fmt: skip
    assert found == generate_captions(model, collator, rows)
    assert (folder / PICTURE).is_file()


def test_what_is_pushed_captions_images(tmp_path, hub, pauses, monkeypatch):
    rows = [row(0), row(1)]
    trainer = trainer_of(tmp_path / "net", rows, HINT, push_to_hub=True, hub_model_id="tester/captioner")
    trainer.train()
    trainer.push_to_hub()
    files = hub.files("tester/captioner")
    assert files.keys() >= {"README.md", "guidance.json", "model.safetensors", "tokenizer.json", PICTURE}
    code = files["README.md"].decode().split("```python\n")[1].split("```")[0]
    assert 'repo = "tester/captioner"' in code
    assert run(code, tmp_path / "net", rows, monkeypatch, "none") == generate_captions(
        trainer.model, trainer.data_collator, rows
    )
