"""A token that a trainer is given is used, and is in nothing that it writes."""

from __future__ import annotations

import copy
import io
import logging
import pickle

import pytest
import torch
from hub_server import TOKEN
from transformers import TrainingArguments

from hf_guidance import Guidance, Term
from hf_guidance.attributions import GradCAM
from hf_guidance.objectives import Energy
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
