"""What a trainer publishes: whole commits, in training and after it; a push that fails ends no training."""

import logging
import shutil
from pathlib import Path

import pytest
from hub_server import TOKEN

from hf_guidance import Guidance, Term
from hf_guidance.attributions import InputXGradient
from hf_guidance.objectives import Energy
from hf_guidance.training.publishing import staging

REPO = "tester/guided"
GUIDANCE = Guidance(energy=Term(Energy(InputXGradient("final")), 1.0, "rows"))
MODEL = {"config.json", "guidance.json", "model.safetensors", "preprocessor_config.json", "README.md"}


@pytest.fixture
def pushing(hub, pauses, trainer_of, model_of):
    """Make a trainer that pushes at the end, or after each of its two checkpoints."""

    def make(strategy="end", **options):
        hub.repos.pop(("model", REPO), None)
        return trainer_of(
            model_of(), GUIDANCE, push_to_hub=True, hub_model_id=REPO, hub_strategy=strategy, hub_always_push=True, max_steps=2,
            save_strategy="steps", save_steps=1, **options,
        )  # fmt: skip

    return make


def messages(hub):
    return [commit.message for commit in hub.repo(REPO).commits[1:]]


def test_one_commit_at_the_end(hub, pushing):
    trainer = pushing()
    trainer.train()
    assert messages(hub) == []
    info = trainer.push_to_hub(commit_message="done", tags="guided")
    assert messages(hub) == ["done"]
    assert info.oid == hub.repo(REPO).commits[-1].oid
    files = hub.files(REPO)
    assert files.keys() >= MODEL
    assert not [name for name in files if name.startswith(("checkpoint-", "_"))]
    assert files["guidance.json"].decode() == GUIDANCE.to_json()


def test_a_readme_of_ones_own_is_pushed_as_it_is(hub, pushing):
    trainer = pushing()
    readme = Path(trainer.args.output_dir) / "README.md"
    readme.parent.mkdir(parents=True, exist_ok=True)
    readme.write_text("# mine\n")
    trainer.save_model()  # which pushes
    trainer.push_to_hub()
    assert hub.files(REPO)["README.md"] == b"# mine\n" == readme.read_bytes()
    trainer.push_to_hub(license="mit")
    assert b"license: mit" in hub.files(REPO)["README.md"]


def test_no_repo_is_made_for_a_branch_that_is_not_there(hub, pushing):
    with pytest.raises(ValueError, match=r"a new one has the branch 'main' alone, not 'v2'.*Nothing was made"):
        pushing(hub_revision="v2")
    assert not hub.repos


def test_in_the_background(hub, pushing):
    assert pushing().push_to_hub(blocking=False).result().oid == hub.repo(REPO).commits[-1].oid


@pytest.mark.parametrize(("strategy", "folders"), [("checkpoint", {"last-checkpoint"}), ("every_save", set())])
def test_every_save_is_one_commit(hub, pushing, strategy, folders):
    trainer = pushing(strategy, save_total_limit=1)
    trainer.train()
    assert messages(hub) == ["Training in progress, step 1", "Training in progress, step 2"]
    for commit in hub.repo(REPO).commits[1:]:
        assert commit.files.keys() >= MODEL - {"README.md"}
        inside = {name.split("/")[0] for name in commit.files if "/" in name and not name.startswith("runs/")}
        assert inside == folders
        for folder in folders:
            assert commit.files[f"{folder}/model.safetensors"] == commit.files["model.safetensors"]
            assert f"{folder}/optimizer.pt" in commit.files
        assert "optimizer.pt" not in commit.files
    first, second = hub.repo(REPO).commits[1:]
    assert first.files["model.safetensors"] != second.files["model.safetensors"]
    assert not list(Path(trainer.args.output_dir).glob("_pushing-*"))


def test_pushed_checkpoints_can_be_resumed_from(hub, pushing, tmp_path):
    pushing("all_checkpoints").train()
    files = hub.files(REPO)
    wanted = {
        "model.safetensors",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "trainer_state.json",
        "guidance.json",
    }
    assert {name.removeprefix("checkpoint-1/") for name in files if name.startswith("checkpoint-1/")} >= wanted
    folder = tmp_path / "fetched"
    for name in (name for name in files if name.startswith("checkpoint-1/")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(files[name])
    trainer = pushing()
    trainer.train(resume_from_checkpoint=str(folder / "checkpoint-1"))
    assert trainer.state.global_step == 2


@pytest.mark.parametrize("how", [{"status": 500}, {"status": 403}, {"drop": True}])
def test_a_push_that_fails_ends_no_training(hub, pushing, how, caplog):
    trainer = pushing("checkpoint")
    hub.fail("POST", "/commit/", **how)
    with caplog.at_level(logging.WARNING):
        logging.getLogger("transformers").propagate = True
        trainer.train()
    assert trainer.state.global_step == 2
    assert caplog.text.count("A push failed (Training in progress, step") == 2
    assert messages(hub) == []
    hub.heal()
    trainer.push_to_hub()
    assert messages(hub) == ["End of training"]


def test_a_busy_server_costs_only_time(hub, pushing):
    trainer = pushing("every_save")
    hub.fail("POST", "/commit/", times=2, status=503)
    trainer.train()
    assert len(messages(hub)) == 2


def test_a_full_disk_ends_no_training(hub, pushing, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    trainer = pushing("every_save")
    monkeypatch.setattr(staging, "_link", fail)
    trainer.train()
    assert trainer.state.global_step == 2
    assert not list(Path(trainer.args.output_dir).glob("_pushing-*"))


def test_what_a_killed_push_left_goes_away(hub, pushing):
    trainer = pushing("every_save")
    left = Path(trainer.args.output_dir) / "_pushing-checkpoint-9"
    left.mkdir(parents=True)
    (left / "model.safetensors").touch()
    trainer.train()
    assert not left.exists()
    trainer.push_to_hub()
    assert not [name for name in hub.files(REPO) if "pushing" in name]


def test_an_error_at_the_end_says_what_to_do(hub, pushing):
    trainer = pushing()
    hub.fail("POST", "/commit/", status=403)
    with pytest.raises(PermissionError, match=rf"publishing to {REPO}: refused \(403\): the token may not do this"):
        trainer.push_to_hub()


def test_the_repo_is_made_before_training(hub, pauses, pushing):
    hub.fail("POST", "/repos/create", times=2, status=503)
    pushing()
    assert pauses == [1, 2]
    hub.fail("POST", "/repos/create", status=401)
    with pytest.raises(PermissionError, match=rf"making the repo {REPO}: refused \(401\)"):
        pushing()


def test_a_token_of_the_call_is_used_and_stays_secret(hub, pushing, caplog, monkeypatch):
    trainer = pushing()
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PermissionError):
        trainer.push_to_hub()
    with caplog.at_level(logging.DEBUG):
        trainer.push_to_hub(token=TOKEN)
    assert len(messages(hub)) == 1
    assert TOKEN not in caplog.text
    assert not [name for name, content in hub.files(REPO).items() if TOKEN.encode() in content]
    shutil.rmtree(trainer.args.output_dir)


def test_a_token_in_the_arguments_is_published_nowhere(hub, pushing, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    trainer = pushing("checkpoint", hub_token=TOKEN)
    trainer.train()
    assert trainer.state.global_step == 2
    commits = hub.repo(REPO).commits
    assert not [name for commit in commits for name, content in commit.files.items() if TOKEN.encode() in content]
