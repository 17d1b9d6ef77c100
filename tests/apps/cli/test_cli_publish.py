"""hf-guidance publish: what is sent and what is not, refusals, and one commit or none on a Hub in this process."""

from __future__ import annotations

import json
import os
import shutil
from types import SimpleNamespace

import pytest
from hub_server import TOKEN, Hub, in_this_process

from hf_guidance import Guidance
from hf_guidance.apps.cli.upload_plan import size_text, upload_plan


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with Hub() as server, in_this_process(server, tmp_path / "home", monkeypatch) as hub:
        monkeypatch.setattr("hf_guidance.common.hub.retry.time.sleep", lambda seconds: None)
        yield hub


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A copy of a checkpoint with what a training leaves beside it."""
    copy = shutil.copytree(checkpoint, tmp_path / "digits")
    for name in ("optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json", ".draft-config.json"):
        (copy / name).write_text("of the training")
    (copy / "training_args.bin").write_text(f"a pickle with {TOKEN}")
    (copy / "checkpoint-3").mkdir()
    (copy / "checkpoint-3" / "config.json").write_text("{}")
    (copy / "runs" / "now").mkdir(parents=True)
    (copy / "runs" / "now" / "events.out.tfevents.1").write_text("log")
    (copy / "maps").mkdir()
    (copy / "maps" / "one.png").write_bytes(b"picture")
    return copy


SENT = {"config.json", "guidance.json", "model.safetensors", "preprocessor_config.json", "README.md", "maps/one.png"}
LEFT = {"optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json", ".draft-config.json", "training_args.bin",
        "checkpoint-3/", "runs/"}  # fmt: skip


def test_a_dry_run_shows_files_and_card_and_sends_nothing_as_a_process(copied, folder):
    ended = copied("publish", folder, "me/digits", "--dry-run")
    assert ended.code == 0, ended.err
    sent, _, left = ended.out.partition("left out:")
    assert all(f"  {name}\n" in sent for name in SENT - {"README.md"})
    assert all(f"  {name} (" in left for name in LEFT)
    assert "model card (README.md):\n\n---\n" in ended.out
    assert ended.out.endswith("nothing was sent; without --dry-run it goes to me/digits\n")
    assert TOKEN not in ended.out + ended.err


def test_it_is_one_commit_that_loads_again(cli, folder, hub):
    ended = cli("publish", folder, "tester/digits", "--message", "EPG 0.74", "--private")
    assert ended.code == 0, ended.err
    assert ended.out.strip() == f"{hub.url}/tester/digits/commit/{hub.repo('tester/digits').commits[-1].oid}"
    repo = hub.repo("tester/digits")
    assert repo.private
    assert [commit.message for commit in repo.commits] == ["initial commit", "EPG 0.74"]
    assert set(hub.files("tester/digits")) >= SENT
    assert not set(hub.files("tester/digits")) & LEFT
    assert not any(TOKEN.encode() in content for content in hub.files("tester/digits").values())
    assert hub.files("tester/digits")["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert list(Guidance.from_pretrained("tester/digits")) == ["task", "energy"]
    assert "%" not in ended.err


def test_it_goes_to_the_hub_and_is_explained_from_there_as_processes(process, folder, photos, tmp_path):
    with Hub() as hub:
        settings = hub.settings(tmp_path / "home")
        ended = process("publish", folder, "digits", **settings)  # a name alone is one of the user's
        assert ended.code == 0, ended.err
        assert "tester/digits/commit/" in ended.out
        ended = process("explain", "tester/digits", photos, "--output", tmp_path / "maps", "--json", **settings)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert len(found["explanations"]) == 3
    assert found["attribution"].startswith("GradCAM() at 'final'")  # of guidance.json there
    assert TOKEN not in ended.out + ended.err


def test_a_card_of_the_folder_is_sent_as_it_is(cli, folder, hub):
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# My digits\n")
    ended = cli("publish", folder, "tester/digits", "--json")
    found = json.loads(ended.out)
    assert found["card"] == "---\nlicense: mit\n---\n# My digits\n"
    assert hub.files("tester/digits")["README.md"].decode() == found["card"]
    assert found["url"].startswith(hub.url)
    assert found["left_out"]["training_args.bin"].startswith("a pickle")


@pytest.mark.parametrize(
    ("status", "message"), [(401, "refused (401)"), (403, "refused (403)"), (500, "the server answered 500")]
)
def test_a_refusal_is_one_line_without_the_token_and_nothing_is_published(status, message, cli, folder, hub):
    hub.put("tester/digits", {"before.txt": b"x"})
    hub.fail("POST", "/commit/", status=status)
    ended = cli("publish", folder, "tester/digits")
    assert ended.code == 1
    assert message in ended.err
    assert TOKEN not in ended.err
    assert "Traceback" not in ended.err
    assert "model.safetensors" not in hub.files("tester/digits")


def test_what_passes_by_itself_is_tried_again(cli, folder, hub):
    hub.fail("POST", "/commit/", times=2, status=503)
    assert cli("publish", folder, "tester/digits").code == 0
    assert len(hub.repo("tester/digits").commits) == 2


def test_a_branch_is_made_and_a_pull_request_is_opened(cli, folder, monkeypatch):
    from huggingface_hub import HfApi

    calls = []

    def noted(name, result=None):
        return lambda self, *args, **options: calls.append((name, args, options)) or result

    commit = SimpleNamespace(commit_url="https://hub/commit/1", pr_url="https://hub/discussions/1")
    monkeypatch.setattr(HfApi, "create_repo", noted("repo", SimpleNamespace(repo_id="me/digits")))
    monkeypatch.setattr(HfApi, "create_branch", noted("branch"))
    monkeypatch.setattr(HfApi, "create_commit", noted("commit", commit))
    monkeypatch.setattr(HfApi, "list_repo_files", lambda self, *args, **options: ["adapter_config.json", "notes.md"])
    assert cli("publish", folder, "me/digits", "--revision", "better").out.strip() == commit.commit_url
    assert [name for name, _, _ in calls] == ["repo", "branch", "commit"]
    assert calls[1][2]["branch"] == calls[2][2]["revision"] == "better"
    calls.clear()
    assert cli("publish", folder, "me/digits", "--create-pr").out.strip() == commit.pr_url
    assert [name for name, _, _ in calls] == ["repo", "commit"]
    assert calls[1][2]["create_pr"] is True
    deleted = [one.path_in_repo for one in calls[1][1][1] if type(one).__name__ == "CommitOperationDelete"]
    assert deleted == ["adapter_config.json"]
    assert cli("publish", folder, "me/digits", "--create-pr", "--revision", "x").code == 2


def cut(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])


def with_index(folder):
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def edited(file, before, after):
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))


def linked(folder, name):
    (folder / name).rename(folder.parent / name)
    (folder / name).symlink_to(folder.parent / name)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "has no config.json, so it is no model; give one of its folders"),
        (lambda f: (f / "model.safetensors").unlink(), "has no weights (model.safetensors); was the training cut off"),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            "only pytorch_model.bin, which are pickles",
        ),
        (cut, "it is not whole. Save it anew"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 50), "is no safetensors file"),
        (with_index, "lacks model-00001-of-00002.safetensors"),
        (lambda f: (f / "notes.txt").write_text(f"my token: {TOKEN}"), "notes.txt holds a token of the Hub"),
        (lambda f: (f / "key.pem").write_text("-----BEGIN RSA PRIVATE KEY-----"), "key.pem holds a private key"),
        (lambda f: (f / "id_rsa").write_text("-----BEGIN OPENSSH PRIVATE KEY-----"), "id_rsa holds a private key"),
        (lambda f: (f / "config.json").write_text("{"), "config.json: this is not well-formed JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json holds no fields with values"),
        (lambda f: (f / "preprocessor_config.json").write_text("5"), "preprocessor_config.json holds no fields"),
        (lambda f: (f / "guidance.json").write_text('{"task": 5}'), "guidance.json cannot be read: "),
        (lambda f: (f / "guidance.json").write_text("{"), "guidance.json"),
        (lambda f: (f / "guidance.json").write_text("[]"), "guidance.json"),
        (
            lambda f: edited(f / "guidance.json", '"type": "Term"', '"type": "Term", "weight": -1'),
            "guidance.json cannot be read: ",
        ),
        (lambda f: (f / "README.md").write_text("---\na: [\n---\n"), "README.md, between the lines of ---, is nothing"),
        (lambda f: (f / "README.md").write_bytes(b"\xff"), "README.md: this is not UTF-8"),
        (lambda f: (f / "model.safetensors.index.json").write_text("{}"), "index.json has no weight_map"),
        (lambda f: (f / "model.safetensors.index.json").write_text("{"), "index.json: this is not well-formed JSON"),
        (
            lambda f: linked(f, "model.safetensors"),
            "model.safetensors is a link to another place, and is not published",
        ),
        (lambda f: linked(f, "config.json"), "config.json is a link to another place, and is not published"),
        (lambda f: shutil.rmtree(f), "is no folder"),
    ],
)
def test_a_folder_that_must_not_be_published_is_refused(spoil, message, folder, cli):
    spoil(folder)
    for words in (["--dry-run"], []):
        ended = cli("publish", folder, "me/digits", *words)
        assert ended.code == 1
        assert message in ended.err
        assert TOKEN not in ended.err
        assert ended.out == ""


def test_links_to_other_places_are_left_out(folder, tmp_path):
    (tmp_path / "private.txt").write_text("mine")
    (folder / "link.txt").symlink_to(tmp_path / "private.txt")
    (folder / "gone.txt").symlink_to(folder / "nowhere.txt")
    (folder / "self").symlink_to(folder)
    (folder / "near.txt").symlink_to(folder / "maps" / "one.png")
    os.mkfifo(folder / "pipe")
    plan = upload_plan(folder)
    assert plan.left_out["link.txt"][1] == "a link to another place"
    assert plan.left_out["gone.txt"][1] == "a link to a file that does not exist"
    assert plan.left_out["self"][1] == "a link to a folder"
    assert plan.left_out["pipe"][1].startswith("no file")
    assert "near.txt" in plan.files
    assert not any(name.startswith("self/") for name in plan.files)


@pytest.mark.parametrize("name", ["my.env", "id_rsa", "ID_ED25519.pub", "Server.PEM", "maps/a.key", "credentials.json"])
def test_files_that_hold_keys_by_their_names_are_left_out(name, folder):
    (folder / name).write_text("nothing that looks like a secret")
    assert upload_plan(folder).left_out[name][1] == "may hold passwords or keys"


@pytest.mark.parametrize("name", ["wandb", "mlruns", "maps/lightning_logs"])
def test_folders_of_other_logs_are_left_out(name, folder):
    (folder / name / "run").mkdir(parents=True)
    (folder / name / "run" / "settings.txt").write_text("of this machine")
    plan = upload_plan(folder)
    assert plan.left_out[f"{name}/"][1].startswith("logs of the training")
    assert not any("settings" in file for file in plan.files)


def test_a_name_that_is_no_text_is_told(cli, folder):
    (folder / os.fsdecode(b"b\xe4r.txt")).write_text("a bear")
    ended = cli("publish", folder, "me/digits", "--dry-run")
    assert ended.code == 2
    assert "b\\xe4r.txt' is not UTF-8; rename it" in " ".join(ended.err.split())


def test_a_folder_without_its_processor_is_told(cli, folder):
    assert "no image processor" not in cli("publish", folder, "me/digits", "--dry-run").err
    (folder / "preprocessor_config.json").unlink()
    ended = cli("publish", folder, "me/digits", "--dry-run")
    assert (ended.code, "no image processor and no tokenizer" in ended.err) == (0, True)


def test_adapters_need_no_configuration_of_a_model(folder):
    (folder / "config.json").unlink()
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    assert "adapter_model.safetensors" in upload_plan(folder).files


def test_sizes_are_for_people():
    assert [size_text(n) for n in (0, 999, 1000, 12_345_678, 3_200_000_000)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "12.3 MB",
        "3.2 GB",
    ]


def test_a_guidance_of_classes_of_ones_own_is_published_and_told(cli, folder):
    edited(folder / "guidance.json", '"type": "Energy"', '"type": "MyEnergy"')
    ended = cli("publish", folder, "me/digits", "--dry-run")
    assert ended.code == 0, ended.err
    assert "guidance.json names MyEnergy, not of this library" in ended.err
