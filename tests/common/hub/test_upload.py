"""Uploads: one commit or none, whatever fails."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hub_server import TOKEN
from huggingface_hub import HfApi

from hf_guidance.common.hub import create_repo, files_of, upload_files

REPO = "tester/net"
FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 1000, "sub/notes.txt": b"notes"}


@pytest.fixture
def repo(hub, pauses):
    create_repo(REPO)
    return hub.repo(REPO)


def publish(**options):
    return upload_files(REPO, FILES, message="all", **options)


def test_one_commit_with_everything(hub, repo):
    info = publish()
    assert len(repo.commits) == 2
    assert hub.files(REPO).items() >= FILES.items()
    assert info.oid == repo.commits[-1].oid
    assert repo.commits[-1].message == "all"


def test_other_files_stay_and_nothing_new_is_no_commit(hub, repo):
    hub.put(REPO, {"README.md": b"mine"})
    publish()
    publish()
    assert len(repo.commits) == 3
    assert hub.files(REPO)["README.md"] == b"mine"


ADAPTER = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"adapter"}


def test_weights_of_another_kind_go_in_the_same_commit(hub, repo, caplog):
    upload_files(REPO, ADAPTER | {"notes.txt": b"mine"}, message="adapter")
    publish()
    assert len(repo.commits) == 3
    assert not ADAPTER.keys() & hub.files(REPO).keys()
    assert hub.files(REPO).items() >= (FILES | {"notes.txt": b"mine"}).items()
    assert "adapter_config.json, adapter_model.safetensors of an earlier push are deleted" in caplog.text
    upload_files(REPO, ADAPTER, message="adapter")
    assert len(repo.commits) == 4
    assert not {"model.safetensors", "config.json"} & hub.files(REPO).keys()
    upload_files(REPO, {"README.md": b"card"}, message="card")
    assert hub.files(REPO).items() >= ADAPTER.items()


def test_an_adapter_of_the_model_in_its_repo_leaves_it_there(hub, repo, tmp_path):
    publish()
    config = tmp_path / "adapter_config.json"
    config.write_text(f'{{"base_model_name_or_path": "{REPO}"}}')
    upload_files(REPO, ADAPTER | {"adapter_config.json": config}, message="adapter")
    assert hub.files(REPO).items() >= FILES.items()


def test_a_repo_is_made_once(hub, pauses):
    assert create_repo("net", private=True) == REPO
    assert create_repo(REPO) == REPO
    assert hub.repo(REPO).private
    assert len(hub.repos) == 1


@pytest.mark.parametrize(
    "where", [("POST", "/preupload/"), ("PUT", "/_lfs/"), ("POST", "/commit/"), ("POST", "/batch")]
)
@pytest.mark.parametrize("how", [{"status": 500}, {"status": 429, "headers": {"Retry-After": "3"}}, {"drop": True}])
def test_what_passes_is_tried_again(hub, repo, where, how):
    hub.fail(*where, times=2, **how)
    publish()
    assert len(repo.commits) == 2
    assert hub.files(REPO).items() >= FILES.items()


@pytest.mark.parametrize("where", [("POST", "/preupload/"), ("PUT", "/_lfs/"), ("POST", "/commit/")])
@pytest.mark.parametrize(
    ("how", "message"),
    [({"status": 500}, "answered 500"), ({"status": 503}, "answered 503"), ({"drop": True}, "connection failed")],
)
def test_what_never_passes_leaves_the_repo_as_it_was(hub, repo, where, how, message):
    hub.fail(*where, **how)
    with pytest.raises(ConnectionError, match=f"publishing to {REPO}: .*{message}"):
        publish()
    assert len(repo.commits) == 1
    hub.heal()
    publish()
    assert len(repo.commits) == 2


@pytest.mark.parametrize("where", [("POST", "/preupload/"), ("POST", "/batch"), ("POST", "/commit/")])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_final(hub, repo, pauses, where, status):
    fault = hub.fail(*where, status=status)
    before = fault.times
    with pytest.raises(PermissionError, match=rf"publishing to {REPO}: refused \({status}\)"):
        publish()
    assert fault.times == before - 1
    assert pauses == []
    assert len(repo.commits) == 1


def test_no_answer_in_time(hub, repo, pauses, monkeypatch):
    from huggingface_hub.utils import get_session

    monkeypatch.setattr(get_session(), "timeout", 0.2)
    hub.fail("POST", "/commit/", times=1, hang=1.0)
    publish()
    assert pauses == [1]
    assert len(repo.commits) == 2


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub, repo, monkeypatch):
    lost = []
    answer = hub.answer

    def losing(request):
        made = answer(request)
        if "/commit/" in request.path and not lost:
            lost.append(made)
            raise BrokenPipeError
        return made

    monkeypatch.setattr(hub, "answer", losing)
    info = publish()
    assert lost
    assert len(repo.commits) == 2
    assert info.oid == repo.commits[-1].oid


def test_storage_that_fails(hub, repo, pauses, monkeypatch):
    """hf_xet, which this Hub has not, raises RuntimeError."""
    whole, failures = HfApi.create_commit, [RuntimeError("storage"), RuntimeError(f"storage of {TOKEN}")]

    def failing(*arguments, **options):
        if failures:
            raise failures.pop()
        return whole(*arguments, **options)

    monkeypatch.setattr(HfApi, "create_commit", failing)
    publish()
    assert len(pauses) == 2
    failures += [RuntimeError(f"of {TOKEN}")] * 4
    with pytest.raises(ConnectionError, match=r"the storage of the Hub failed \(of <token>\)"):
        publish()


def test_errors_of_the_disk_pass(hub, repo, pauses, monkeypatch):
    def failing(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(HfApi, "create_commit", failing)
    with pytest.raises(OSError, match="No space left") as raised:
        publish()
    assert raised.value.errno == 28
    assert pauses == []


def test_what_is_asked_wrongly(hub, repo, pauses):
    with pytest.raises(ValueError, match=r"no such repo \(404\)"):
        upload_files("tester/other", FILES, message="all")
    with pytest.raises(ValueError, match="no such revision"):
        publish(revision="branch")
    with pytest.raises(ValueError, match="no file is given"):
        upload_files(REPO, {}, message="all")
    with pytest.raises(PermissionError, match=r"making the repo org/x: refused \(401\)"):
        create_repo("org/x", token=False)
    with pytest.raises(PermissionError, match=r"refused \(403\)"):
        publish(token="hf_anotherOneThatMayNotWrite00000000")
    with pytest.raises(ValueError, match="a b"):
        create_repo("a b/c")
    assert pauses == []


def test_files_of_a_folder(tmp_path):
    for name in (".git/config", "a.txt", "sub/.draft-b.txt", "sub/b.txt", "checkpoint-1/w.bin", "_x/y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert list(files_of(tmp_path)) == ["_x/y", "a.txt", "checkpoint-1/w.bin", "sub/b.txt"]
    assert files_of(tmp_path, ["_*", "checkpoint-*"]) == {name: tmp_path / name for name in ("a.txt", "sub/b.txt")}
    with pytest.raises(ValueError, match="holds no file"):
        files_of(tmp_path, ["*"])
    with pytest.raises(ValueError, match="is not a folder"):
        files_of(tmp_path / "none")


def test_links_to_other_places_are_left_out_and_told(tmp_path, caplog):
    folder, private = tmp_path / "model", tmp_path / "private.txt"
    folder.mkdir()
    private.write_text("mine")
    (folder / "a.txt").write_text("a")
    (folder / "b.txt").symlink_to("a.txt")
    (folder / "c.txt").symlink_to(private)
    assert list(files_of(folder)) == ["a.txt", "b.txt"]
    assert "c.txt: links to other places are not published; copy the files there" in caplog.text


@pytest.mark.parametrize("name", [REPO, "net"])
def test_a_branch_that_is_not_there_makes_no_repo(hub, pauses, name):
    with pytest.raises(ValueError, match="a new one has the branch 'main' alone, not 'v2'"):
        create_repo(name, revision="v2")
    assert not hub.repos
    assert create_repo(name, revision="main") == REPO
    with pytest.raises(ValueError, match=r"looking for the revision 'v2' of .*: the repo has no such revision"):
        create_repo(name, revision="v2")


def test_an_adapter_whose_base_lies_on_this_machine_is_told(hub, repo, tmp_path, caplog):
    config = f'{{"base_model_name_or_path": "{tmp_path}"}}'.encode()
    upload_files(REPO, ADAPTER | {"adapter_config.json": config}, message="adapter")
    assert f"names a folder of this machine as the base model, {tmp_path}, where others find nothing" in caplog.text


def test_a_file_with_the_token_is_not_published(hub, repo, tmp_path):
    (tmp_path / "args.bin").write_bytes(b"\x80" + TOKEN.encode())
    with pytest.raises(ValueError, match=r"args\.bin holds your token") as raised:
        upload_files(REPO, files_of(tmp_path), message="all")
    assert TOKEN not in str(raised.value)
    assert len(repo.commits) == 1


def test_no_token_is_told(hub, repo, caplog):
    hub.fail("POST", "/commit/", status=500)
    with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionError) as raised:
        publish(token=TOKEN)
    assert TOKEN not in str(raised.value) + caplog.text
    assert raised.value.__context__ is None


PUBLISHER = """
import sys
from hf_guidance.common.hub import files_of, upload_files
upload_files(sys.argv[1], files_of(sys.argv[2]), message="all")
"""


def test_killed_while_it_publishes(hub, repo, tmp_path):
    folder = tmp_path / "model"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    hub.fail("POST", "/commit/", times=1, hang=600)  # the weights are there, the commit is not
    command = [sys.executable, "-c", PUBLISHER, REPO, str(folder)]
    environment = hub.environment(tmp_path / "home", PYTHONPATH=str(Path(__file__).parents[3]))
    process = subprocess.Popen(command, env=environment)
    limit = time.monotonic() + 60
    while not hub.seen("POST", "/commit/") and time.monotonic() < limit:
        time.sleep(0.05)
    assert hub.seen("PUT", "/_lfs/")
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(repo.commits) == 1
    assert "model.safetensors" not in hub.files(REPO)
    puts = len(hub.seen("PUT", "/_lfs/"))
    subprocess.run(command, env=environment, check=True)
    assert len(repo.commits) == 2
    assert hub.files(REPO).items() >= FILES.items()
    assert len(hub.seen("PUT", "/_lfs/")) == puts  # what was there is not sent again
