"""The card of a guided model: valid for the Hub, true to the run, and no danger to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from cards_read import card_of
from markdown_it import MarkdownIt

from hf_guidance import Grounding, Guidance, GuidanceCollator, Term, with_annotated_fraction
from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.objectives import Energy, RightReasons, Sufficiency
from hf_guidance.training import CardOptions
from hf_guidance.training.publishing import card_trainer, drawing_trainer
from hf_guidance.training.publishing.model_card import OWN_BEGIN
from hf_guidance.training.publishing.usage import code_to_load

GUIDANCE = Guidance(energy=Term(Energy(GradCAM()), 0.5, "rows"))
NASTY = [
    "a: 'b' \"c\"",
    "| pipe | --- |\n---\nbase_model: evil",
    "{{ 7 * 7 }} ``` <b>",
    "日本 $x$ [a](b)",
    "- #hash & *star*",
]


def metrics(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def test_it_tells_what_guided_and_what_that_did(trainer_of, model_of, digits, tmp_path):
    guidance = Guidance(
        energy=Term(Energy(GradCAM()), 0.5, "rows"),
        rrr=Term(RightReasons(InputXGradient("final"), grid="attribution"), 1e-3),
    )
    rows = with_annotated_fraction(digits["train"], 0.5, seed=0)
    trainer = trainer_of(
        model_of(), guidance, rows=rows, max_steps=4, save_strategy="steps", save_steps=4, eval_strategy="steps", eval_steps=4,
        trainer={"compute_metrics": metrics, "grounding": Grounding(GradCAM(), ("epg", "pointing_game"))},
    )  # fmt: skip
    trainer.card = CardOptions(license="mit", unguided={"epg": 0.125, "eval_accuracy": 0.25})
    before = trainer.evaluate()
    trainer.train()
    card = card_of(tmp_path / "out" / "checkpoint-4")
    data, text = card.data, card.text
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "transformers", "image-classification")
    assert data.get("base_model") is data.get("language") is data.get("datasets") is None
    assert {"hf_guidance", "attribution-guidance", "generated_from_trainer"} <= set(data.tags)
    measured = trainer.state.log_history[-2]
    results = {result.metric_name: result for result in data.eval_results}
    assert {"accuracy", "epg", "pointing_game"} <= results.keys()
    assert not any("loss" in name for name in results)
    for name, result in results.items():
        assert result.metric_value == pytest.approx(measured[f"eval_{name}"], abs=1e-6)
        assert (result.task_type, result.dataset_name, result.dataset_split) == (
            "image-classification",
            "digits_on_photos",
            "test",
        )
    assert f"| `epg` ↑ | 0.125 | {before['eval_epg']:.4g} | {measured['eval_epg']:.4g} |" in text
    assert f"| `accuracy` ↑ | 0.25 | {before['eval_accuracy']:.4g} |" in text
    assert "| `energy` | `Energy` | 0.5 | `rows` | `GradCAM` | `final` |" in text
    assert "| `rrr` | `RightReasons` | 0.001 | `batch` | `InputXGradient` | `final` |" in text
    assert '`grid="attribution"`' in text
    assert "`L = 1 - sum(M * A⁺) / sum(A⁺)`" in text
    for key in ("rao2023studying", "selvaraju2017grad", "ross2017right", "shrikumar2016not"):
        assert text.count(f"@misc{{{key},") == 1
    assert "24 of 48 rows (50.0%)" in text
    assert "Only 50.0% of the training rows were annotated" in text
    assert (
        f"{100 * trainer.state.log_history[-3]['undefined_share/energy']:.1f}% of the annotated rows at step 4" in text
    )
    assert "can be gamed" in text
    assert "does not predict accuracy on other data" in text
    assert guidance.to_json().strip() in text
    assert trainer.state.log_history[0]["eval_epg"] == before["eval_epg"]


@pytest.mark.parametrize("name", NASTY)
def test_names_break_neither_yaml_nor_tables(name, trainer_of, model_of, digits, tmp_path):
    rows = digits["train"].select(range(8))
    rows.info.dataset_name = rows.info.builder_name = name
    rows.info.config_name = name
    labels = {0: name, 1: "other"}
    model = model_of(id2label=labels, label2id={label: index for index, label in labels.items()})
    term = " ".join(name.replace("/", "").split())  # else Guidance refuses it
    trainer = trainer_of(model, Guidance({term: GUIDANCE["energy"]}), rows=rows, trainer={"eval_dataset": rows})
    trainer.card = CardOptions(model_name=name, dataset=[name], tags=[name], dataset_tags=name)
    trainer.evaluate()
    trainer.save_model()
    card = card_of(tmp_path / "out")
    assert card.data.get("base_model") is None
    assert card.data.model_name == " ".join(name.split())
    assert card.data.tags[-1] == " ".join(name.split())
    result = card.data.eval_results[0]
    assert result.dataset_name == name
    tokens = MarkdownIt("commonmark").enable("table").parse(card.text)
    headings = [
        tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h2"
    ]
    assert headings == [
        "Results", "What guided it", "Annotations", "How to load it", "Limits", "Training", "Licence", "Citation",
    ]  # fmt: skip
    assert [token.tag for token in tokens if token.type == "heading_open"].count("h1") == 1
    assert sum(token.type == "table_open" for token in tokens) == 2
    assert "49" not in card.text.split("## Results")[0]


def test_the_code_is_python_and_names_the_repository(trainer_of, model_of, tmp_path):
    trainer = trainer_of(model_of(), GUIDANCE, hub_model_id="me/digits")
    trainer.create_model_card()
    text = card_of(tmp_path / "out").text
    code = text.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert 'repo = "me/digits"' in code
    assert "from transformers import AutoImageProcessor, AutoModelForImageClassification" in code
    assert 'guidance["energy"].objective.attribution' in code


def test_before_any_training_there_is_a_card_too(trainer_of, model_of, tmp_path):
    trainer = trainer_of(model_of(), GUIDANCE)
    trainer.create_model_card(model_name="first", tags=["a", "b"])
    card = card_of(tmp_path / "out")
    assert card.data.get("model-index") is card.data.eval_results is None
    assert "Nothing was measured yet." in card.text
    assert card.text.count("# first\n") == 1
    assert (tmp_path / "out" / "attribution_maps.png").is_file()
    assert "Written by" in card.text


def test_own_objectives_are_told_by_their_docstring(trainer_of, model_of, tmp_path):
    @dataclass(frozen=True)
    class Mine(Energy):
        """``L = mine|yours``: what I want.

        Reference:
            Ada Lovelace, "Notes", Journal 1843.
        """

    @dataclass(frozen=True)
    class Silent(Energy):
        pass

    trainer = trainer_of(model_of(), Guidance(mine=Mine(GradCAM()), silent=Silent(GradCAM())))
    trainer.create_model_card()
    text = card_of(tmp_path / "out").text
    assert "`L = mine|yours`: what I want." in text
    assert "author = {Ada Lovelace}" in text
    assert "- **Objective** `Silent`\n" in text
    assert 'types={"Mine": Mine, "Silent": Silent}' in text


def test_without_terms_it_says_that_nothing_guided(trainer_of, model_of, tmp_path):
    trainer = trainer_of(model_of(), Guidance())
    trainer.save_model()
    card = card_of(tmp_path / "out")
    assert "nothing guided this model" in card.text
    assert "can be gamed" not in card.text
    assert not (tmp_path / "out" / "attribution_maps.png").exists()


def test_a_control_is_called_one(trainer_of, model_of, processor, tmp_path):
    collator = GuidanceCollator(processor, num_labels=2, control_seed=3, box_dilation=0.5, source="boxes")
    trainer = trainer_of(model_of(), GUIDANCE, trainer={"data_collator": collator})
    trainer.save_model()
    text = card_of(tmp_path / "out").text
    assert "`control_seed=3`, `box_dilation=0.5`" in text
    assert "This model is a control" in text
    assert "**Importance is made of** boxes" in text


def test_a_data_set_of_the_hub_is_named_and_linked(trainer_of, model_of, digits, tmp_path):
    rows = digits["train"].select(range(8))
    rows.info.download_checksums = {"hf://datasets/org/digits@0123abc/data/train-0.parquet": {"num_bytes": 1}}
    trainer_of(model_of(), GUIDANCE, rows=rows).save_model()
    card = card_of(tmp_path / "out")
    assert card.data.datasets == ["org/digits"]
    assert "(https://huggingface.co/datasets/org/digits)" in card.text


@pytest.mark.parametrize("kind", ["list", "stream", "transform"])
def test_rows_of_any_kind(kind, trainer_of, model_of, digits, tmp_path):
    rows = digits["train"].select(range(8))
    if kind == "list":
        rows = list(rows)
    elif kind == "stream":
        rows = rows.to_iterable_dataset()
    else:
        rows = rows.with_transform(lambda batch: batch)
    trainer = trainer_of(model_of(), GUIDANCE, rows=rows, max_steps=1, trainer={"eval_dataset": None})
    trainer.train()
    trainer.save_model()
    text = card_of(tmp_path / "out").text
    told = {"list": "8 of 8 rows (100.0%)"}.get(kind, "not counted")
    assert f"**Annotated** {told}" in text
    assert (tmp_path / "out" / "attribution_maps.png").exists() == (kind != "stream")


def test_own_words_stay_and_a_readme_of_someone_else_too(trainer_of, model_of, tmp_path, monkeypatch):
    trainer = trainer_of(model_of(), GUIDANCE)
    trainer.save_model()
    file = tmp_path / "out" / "README.md"
    begin = "<!-- your own words -->\n"
    words = "Made for *birds*.\n\n## Where\n\nIn {{ Ulm }}.\n"
    file.write_text(file.read_text().replace(begin, begin + words))
    trainer.save_model()
    trainer.create_model_card()
    assert file.read_text().count(words) == 1
    said = []
    monkeypatch.setattr(card_trainer.logger, "warning_once", said.append)
    file.write_text("# My project\n")
    trainer.save_model()
    assert file.read_text() == "# My project\n"
    assert "was not written by hf_guidance, and stays" in said[0]
    trainer.create_model_card()
    assert "What guided it" in file.read_text()


def test_a_card_that_fails_ends_no_training_and_is_told(trainer_of, model_of, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(drawing_trainer.logger, "warning", lambda text, **options: said.append((text, options)))

    def broken(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(card_trainer, "model_card", broken)
    trainer = trainer_of(model_of(), GUIDANCE, save_strategy="steps", save_steps=2, max_steps=2)
    trainer.train()
    assert trainer.state.global_step == 2
    assert (tmp_path / "out" / "checkpoint-2" / "model.safetensors").is_file()
    ((text, options),) = said
    assert "checkpoint-2: the model card is missing (OSError: [Errno 28] No space left on device)" in text
    assert options["exc_info"]
    with pytest.raises(OSError, match="No space"):
        trainer.create_model_card()
    assert sorted(file.name for file in (tmp_path / "out").glob("*README*")) == []


def test_a_base_model_in_a_folder_is_not_named(trainer_of, model_of, tmp_path):
    model_of().save_pretrained(tmp_path / "base")
    model = type(model_of()).from_pretrained(tmp_path / "base")
    trainer = trainer_of(model, GUIDANCE)
    trainer.save_model()
    assert card_of(tmp_path / "out").data.get("base_model") is None
    trainer.model.config._name_or_path = "microsoft/resnet-18"
    trainer.save_model()
    card = card_of(tmp_path / "out")
    assert card.data.base_model == "microsoft/resnet-18"
    assert "fine-tuned from [microsoft/resnet-18](https://huggingface.co/microsoft/resnet-18)" in card.text


def test_the_card_of_views(trainer_of, model_of, tmp_path):
    trainer = trainer_of(model_of(), Guidance(suff=Sufficiency()))
    trainer.save_model()
    text = card_of(tmp_path / "out").text
    assert "| `suff` | `Sufficiency` | 1 | `batch` |  |  |" in text
    assert "look at its maps too" in text


def test_json_of_the_guidance_reads_back(trainer_of, model_of, tmp_path):
    trainer_of(model_of(), GUIDANCE).save_model()
    block = card_of(tmp_path / "out").text.split("```json\n")[1].split("\n```")[0]
    assert Guidance.from_dict(json.loads(block)) == GUIDANCE


def test_own_words_go_along_to_checkpoints(trainer_of, model_of, tmp_path):
    trainer = trainer_of(model_of(), GUIDANCE, save_strategy="steps", save_steps=1, max_steps=1)
    trainer.save_model()
    card = tmp_path / "out" / "README.md"
    card.write_text(card.read_text().replace(f"{OWN_BEGIN}\n", f"{OWN_BEGIN}\nRead this first.\n"))
    trainer.train()
    assert "Read this first." in (tmp_path / "out" / "checkpoint-1" / "README.md").read_text()


def test_the_code_of_a_card_names_every_class_of_ones_own():
    @dataclass(frozen=True)
    class MyCAM(GradCAM):
        pass

    guidance = Guidance(energy=Energy(MyCAM()))
    code = code_to_load(SimpleNamespace(), guidance, "me/net", None, "image-classification", False)
    assert 'types={"MyCAM": MyCAM}' in code
