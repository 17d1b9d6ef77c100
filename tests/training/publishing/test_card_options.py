"""What a user says for a card: checked, and compared with what was measured."""

import pytest
from huggingface_hub import ModelCard

from hf_guidance import Guidance
from hf_guidance.training import CardOptions
from hf_guidance.training.publishing import card_trainer, model_card


def card_of(folder):
    return ModelCard((folder / "README.md").read_text())


@pytest.mark.parametrize("language", ["English", "e", ["en", "Deutsch"], "en\n", "EN"])
def test_what_is_no_language_is_refused(language, trainer_of, model_of):
    with pytest.raises(ValueError, match="is no language code"):
        CardOptions(language=language)
    trainer = trainer_of(model_of(), Guidance())
    with pytest.raises(ValueError, match="ISO 639"):
        trainer.create_model_card(language=language)
    assert trainer.card == CardOptions()


@pytest.mark.parametrize("language", ["en", ["en", "deu"], "zh-Hant", "multilingual", None])
def test_languages(language):
    assert CardOptions(language=language).language == language


def test_what_is_no_data_set_is_left_out_and_told(trainer_of, model_of, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(model_card.logger, "warning", said.append)
    trainer_of(model_of(), Guidance()).create_model_card(dataset_tags=["org/digits", "beans", "my own data"])
    assert card_of(tmp_path / "out").data.datasets == ["org/digits", "beans"]
    assert "dataset_tags=['my own data']: no ids of data sets" in said[0]


def test_unguided_metrics_of_other_names_are_told_and_no_empty_column(trainer_of, model_of, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(card_trainer.logger, "warning", said.append)
    trainer = trainer_of(model_of(), Guidance())
    trainer.evaluate()
    trainer.create_model_card(unguided={"test_accuracy": 0.5})
    assert "without guidance |" not in card_of(tmp_path / "out").text
    assert "unguided= has ['eval_test_accuracy'], and this model was measured by ['eval_loss'" in said[0]


def test_unguided_metrics_of_another_evaluation(trainer_of, model_of, tmp_path):
    trainer = trainer_of(model_of(), Guidance())
    trainer.evaluate(metric_key_prefix="test")
    trainer.create_model_card(unguided={"test_loss": 0.125})
    assert "| `test_loss` | 0.125 |" in card_of(tmp_path / "out").text
