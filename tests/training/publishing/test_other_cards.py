"""Cards of adapters, of question answering, and of models that transformers does not know."""

from __future__ import annotations

import torch
from huggingface_hub import ModelCard
from test_adapters import trainer_of as adapter_trainer
from test_adapters import wrapped
from test_questions import random_importance, rows, trainer_of

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, Term, recipes
from hf_guidance.attributions import GradCAM, Gradient, SoftLabelLogits
from hf_guidance.data import GuidanceCollator
from hf_guidance.objectives import Alignment, AnswerLoss, Energy
from hf_guidance.training.publishing.maps_picture import PICTURE


def test_adapters(tmp_path):
    model = wrapped("vit")
    trainer = adapter_trainer(model, tmp_path)
    trainer.save_model()
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "peft"
    assert card.data.get("base_model") is None
    assert "model = PeftModel.from_pretrained(model, repo)" in card.text
    assert "What guided it" in card.text
    model.peft_config["default"].base_model_name_or_path = "google/vit-base-patch16-224"
    trainer.save_model()  # PEFT writes into the card, too, which is then there
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.base_model == "google/vit-base-patch16-224"
    assert "base_model:adapter:google/vit-base-patch16-224" in card.data.tags
    assert card.text.count("# Limits") == 1
    code = card.text.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    given = f"num_labels={model.config.num_labels}, ignore_mismatched_sizes=True"
    assert f'AutoModelForImageClassification.from_pretrained("google/vit-base-patch16-224", {given})' in code


def test_the_code_for_adapters_loads_a_base_with_another_head(tmp_path, monkeypatch):
    model = wrapped("vit")
    wrapped("vit").get_base_model().save_pretrained(tmp_path / "org" / "base")
    other = type(model.get_base_model())(type(model.config)(**model.config.to_dict() | {"num_labels": 7}))
    other.save_pretrained(tmp_path / "org" / "base")
    model.peft_config["default"].base_model_name_or_path = "org/base"
    trainer = adapter_trainer(model, tmp_path / "net")
    trainer.save_model()
    code = ModelCard.load(tmp_path / "net" / "README.md").text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    names = {}
    loading = [
        line for line in code.splitlines() if line.startswith(("from transformers", "from peft", "repo", "model"))
    ]
    exec("\n".join(loading).replace("your-name/net", "net"), names)
    assert names["model"].config.num_labels == model.config.num_labels
    head = "base_model.model.classifier.modules_to_save.default.weight"
    assert names["model"].state_dict()[head].equal(model.state_dict()[head])


def test_a_readme_of_ones_own_stays_as_it_is_beside_adapters(tmp_path):
    (tmp_path / "README.md").write_bytes(b"# mine\r\n")
    adapter_trainer(wrapped("vit"), tmp_path).save_model()
    assert (tmp_path / "README.md").read_bytes() == b"# mine\r\n"


def test_questions(tmp_path):
    guidance = Guidance(task=AnswerLoss(), align=Alignment(Gradient(target=SoftLabelLogits())))
    trainer = trainer_of(guidance, rows(random_importance), tmp_path)
    trainer.evaluate()
    trainer.train()
    trainer.evaluate()
    trainer.save_model()
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.pipeline_tag == "visual-question-answering"
    assert "plausibility" in [result.metric_type for result in card.data.eval_results]
    assert "from hf_guidance.models import UpDnForQuestionAnswering" in card.text
    assert "10 of 10 rows" in card.text
    assert "RRR-Suff" in card.text
    assert "before training" in card.text
    assert (tmp_path / PICTURE).stat().st_size > 5000


def test_a_recipe_with_views(tmp_path):
    trainer = trainer_of(recipes.visfis(), rows(random_importance), tmp_path)
    trainer.save_model()
    text = ModelCard.load(tmp_path / "README.md").text
    assert all(f"### Term `{name}`" in text for name in trainer.guidance)
    assert text.count("@misc{ying2022visfis") == 1


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Linear(4, 2)

    def forward(self, pixel_values):
        return {"logits": self.fc(torch.tanh(self.conv(pixel_values)).mean((-2, -1)))}


def test_a_plain_module(digits, processor, tmp_path):
    guidance = Guidance(energy=Term(Energy(GradCAM(layer="conv")), 1.0))
    trainer = GuidedTrainer(
        Net(), GuidanceArguments(str(tmp_path), report_to="none", use_cpu=True, max_steps=1, save_strategy="no"),
        train_dataset=digits["train"], data_collator=GuidanceCollator(processor, num_labels=2), guidance=guidance,
    )  # fmt: skip
    trainer.train()
    trainer.save_model()
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "hf_guidance"
    code = card.text.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert "from your_module import Net" in code
    assert "load_file(hf_hub_download(repo" in code
    assert "of the training set" in card.text
