"""A token that a trainer is given is used, and is in nothing that it writes."""

from __future__ import annotations

import copy
import io
import logging
import pickle
from dataclasses import dataclass

import pytest
import torch
from hub_server import TOKEN
from transformers import TrainingArguments, ViTImageProcessor

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, Term
from hf_guidance.attributions import GradCAM
from hf_guidance.objectives import Energy
from hf_guidance.training.publishing import hidden_secrets
from hf_guidance.training.publishing.hidden_secrets import HiddenText, hide_secrets

SECRET = TOKEN  # the only one that may write to the server of the tests
GUIDANCE = Guidance(energy=Term(Energy(GradCAM()), 1.0, "rows"))


def test_a_hidden_text_is_used_like_any_other_and_not_written(tmp_path):
    args = TrainingArguments(str(tmp_path), hub_token=SECRET, use_cpu=True)
    args.my_api_key, args.password = SECRET, ""
    hide_secrets(args)
    assert args.hub_token == args.my_api_key == SECRET
    assert f"Bearer {args.hub_token}" == f"Bearer {SECRET}"
    assert isinstance(args.hub_token, HiddenText)
    assert SECRET not in repr(args.hub_token) + repr(args) + str(args) + args.to_json_string()
    for copied in (copy.copy(args), copy.deepcopy(args)):
        assert copied.hub_token == SECRET
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        text = pickle.dumps(args, protocol)
        assert SECRET.encode() not in text
    read = pickle.loads(text)
    assert (read.hub_token, read.my_api_key, read.password) == (None, None, "")
    assert read.output_dir == args.output_dir
    buffer = io.BytesIO()
    torch.save(args, buffer)
    assert SECRET.encode() not in buffer.getvalue()


@dataclass
class WithKey(GuidanceArguments):
    wandb_api_key: str | None = None


@dataclass
class PlainWithKey(TrainingArguments):
    wandb_api_key: str | None = None


def test_a_key_among_the_arguments_is_shown_nowhere(trainer_of, model_of, digits, tmp_path, monkeypatch):
    args = WithKey(str(tmp_path / "out"), use_cpu=True, max_steps=1, report_to="tensorboard", wandb_api_key=SECRET)
    assert args.wandb_api_key == SECRET
    shown = [
        repr(args),
        str(args),
        f"{args}",
        args.to_json_string(),
        repr(args.to_dict()),
        repr(args.to_sanitized_dict()),
    ]
    assert not any(SECRET in text for text in shown)
    assert "wandb_api_key=<WANDB_API_KEY>" in str(args)
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    GuidedTrainer(
        model_of(), args, guidance=Guidance(), processing_class=processor, train_dataset=digits["train"]
    ).train()
    events = [file.read_bytes() for file in (tmp_path / "board").rglob("*tfevents*")]
    assert any(b"wandb_api_key" in content for content in events)
    assert not any(SECRET.encode() in content for content in events)


def test_arguments_that_would_show_a_key_are_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(hidden_secrets.logger, "warning", said.append)
    hide_secrets(PlainWithKey(str(tmp_path), hub_token=SECRET, wandb_api_key=SECRET, use_cpu=True))
    (text,) = said
    assert "PlainWithKey.wandb_api_key is shown by to_dict()" in text
    assert SECRET not in text


def test_no_secret_of_the_arguments_is_published(hub, trainer_of, model_of, tmp_path):
    key = "0123456789abcdef0123456789abcdef"
    trainer = trainer_of(model_of(), GUIDANCE, push_to_hub=True, hub_model_id="me/digits")
    trainer.args.wandb_api_key = key
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "notes.txt").write_text(f"key: {key}")
    with pytest.raises(ValueError, match=r"notes\.txt holds your token, or another secret"):
        trainer.push_to_hub()


@pytest.mark.parametrize("strategy", ["every_save", "all_checkpoints"])
def test_no_file_no_log_and_no_upload_has_it(strategy, hub, trainer_of, model_of, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "out" / "board"))
    root = logging.getLogger("transformers")
    monkeypatch.setattr(root, "propagate", True)
    caplog.set_level(logging.DEBUG)
    trainer = trainer_of(
        model_of(), GUIDANCE, save_strategy="steps", save_steps=3, max_steps=3, hub_token=SECRET, push_to_hub=True,
        hub_model_id="me/digits", hub_strategy=strategy, report_to="tensorboard", log_level="debug",
    )  # fmt: skip
    trainer.train()
    trainer.args.hub_token = SECRET  # set anew
    trainer.push_to_hub()
    trainer.save_state()
    written = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert {"training_args.bin", "trainer_state.json", "README.md"} <= {file.name for file in written}
    assert any("tfevents" in file.name for file in written)
    assert [file for file in written if SECRET.encode() in file.read_bytes()] == []
    assert [record for record in caplog.records if SECRET in record.getMessage() + str(vars(record))] == []
    commits = hub.repo("me/digits").commits
    assert len(commits) > 2
    assert {request.token for request in hub.seen("POST", "/commit/")} == {SECRET}
    assert not any(SECRET.encode() in content for commit in commits for content in commit.files.values())
    read = torch.load(tmp_path / "out" / "training_args.bin", weights_only=False)
    assert read.hub_token is None
    assert read.max_steps == 3


def test_what_is_pushed_while_training_has_the_card_the_picture_and_the_guidance(hub, trainer_of, model_of):
    trainer = trainer_of(
        model_of(), GUIDANCE, save_strategy="steps", save_steps=2, max_steps=2, push_to_hub=True, hub_model_id="me/digits",
        hub_strategy="checkpoint",
    )  # fmt: skip
    trainer.train()
    files = hub.files("me/digits")
    wanted = {"README.md", "attribution_maps.png", "guidance.json", "model.safetensors"}
    assert wanted <= files.keys()
    assert {f"last-checkpoint/{name}" for name in wanted} <= files.keys()
    assert not any(name.startswith("_") for name in files)
    assert b'"me/digits"' in files["README.md"]
    trainer.push_to_hub(license="mit", tags="mine", unguided={"epg": 0.1})
    card = hub.files("me/digits")["README.md"].decode()
    assert "license: mit" in card
    assert "- mine\n" in card
    trainer.save_model()  # pushes; what was given once stays
    assert "license: mit" in hub.files("me/digits")["README.md"].decode()
