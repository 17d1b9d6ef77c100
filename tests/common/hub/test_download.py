"""Downloads of one file: what comes, what is refused before it comes, and what each fault is told as."""

import logging
from pathlib import Path

import pytest
from hub_server import TOKEN
from huggingface_hub import constants

from hf_guidance.common.hub import download_file

REPO = "org/net"
TEXT = b'{"energy": 1}' * 100


@pytest.fixture
def repo(hub, pauses):
    return hub.put(REPO, {"a.json": TEXT, "w.bin": b"weights" * 1000, "sub/b.json": b"{}"})


def test_files_of_repos_and_folders(hub, repo, tmp_path):
    assert download_file(REPO, "a.json").read_bytes() == TEXT
    assert download_file(REPO, "sub/b.json").read_bytes() == b"{}"
    assert download_file(REPO, "w.bin").read_bytes() == b"weights" * 1000
    (tmp_path / "a.json").write_text("here")
    assert download_file(tmp_path, "a.json") == tmp_path / "a.json"


def test_revisions(hub, repo):
    first = repo.commits[-1].oid
    repo.refs["v1"] = first
    hub.put(REPO, {"a.json": b"new"})
    assert download_file(REPO, "a.json").read_bytes() == b"new"
    assert download_file(REPO, "a.json", revision=first).read_bytes() == TEXT
    assert download_file(REPO, "a.json", revision="v1").read_bytes() == TEXT
    with pytest.raises(
        ValueError, match=r"downloading a\.json of the repo org/net at revision 'v2': the repo has no such revision"
    ):
        download_file(REPO, "a.json", revision="v2")


def test_what_is_not_there(hub, repo, tmp_path, pauses):
    with pytest.raises(ValueError, match=r"downloading c\.json of the repo org/net: the repo has no such file"):
        download_file(REPO, "c.json")
    with pytest.raises(ValueError, match=r"org/other: there is no such repo \(404\)"):
        download_file("org/other", "a.json")
    with pytest.raises(ValueError, match=r"c\.json does not exist"):
        download_file(tmp_path, "c.json")
    with pytest.raises(ValueError, match="is a folder, which has no revision 'main'"):
        download_file(tmp_path, "c.json", revision="main")
    with pytest.raises(ValueError, match="neither a folder nor the id of a repo"):
        download_file("runs/somewhere/else", "a.json")
    with pytest.raises(ValueError, match="neither a folder nor the id of a repo"):
        download_file("x" * 5000, "a.json")
    assert pauses == []  # none of them may pass by itself


def test_a_large_file_is_refused_before_it_is_fetched(hub, repo, tmp_path):
    hub.put(REPO, {"big.json": b" " * 100_000_000})
    with pytest.raises(ValueError, match="100,000,000 bytes; at most 1,000,000"):
        download_file(REPO, "big.json", max_bytes=1_000_000)
    assert not hub.seen("GET", r"resolve/.*/big\.json")
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(ValueError, match="100,000,000 bytes; at most 1,000,000"):
        download_file(tmp_path, "big.json", max_bytes=1_000_000)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [(401, PermissionError, r"refused \(401\).*hf auth login"), (403, PermissionError, r"refused \(403\)")],
)
def test_refusals_are_final(hub, repo, pauses, status, kind, message):
    hub.fail("HEAD", "a.json", status=status)
    with pytest.raises(kind, match=message):
        download_file(REPO, "a.json")
    assert pauses == []


@pytest.mark.parametrize("how", [{"status": 500}, {"status": 503}, {"status": 429}, {"drop": True}])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_what_may_pass_is_tried_again(hub, repo, how, method):
    hub.fail(method, "a.json", times=2, **how)
    assert download_file(REPO, "a.json").read_bytes() == TEXT


def test_a_server_that_stays_broken(hub, repo, pauses):
    hub.fail("HEAD", "a.json", status=500)
    with pytest.raises(ConnectionError, match="the server answered 500"):
        download_file(REPO, "a.json")
    assert pauses == [1, 2, 4]


def test_the_pause_that_the_server_asks_for(hub, repo, pauses):
    hub.fail("HEAD", "a.json", times=1, status=429, headers={"Retry-After": "7"})
    download_file(REPO, "a.json")
    assert pauses == [7]
    hub.fail("HEAD", "w.bin", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(ConnectionError, match=r"answered 429.*asks to wait 3600 seconds"):
        download_file(REPO, "w.bin")
    assert pauses == [7]


def test_no_answer_in_time(hub, repo, pauses, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    hub.fail("HEAD", "a.json", hang=0.5)
    with pytest.raises(ConnectionError, match=r"no answer in time"):
        download_file(REPO, "a.json")
    assert len(pauses) == 3


def test_cut_short_comes_whole_in_the_end(hub, repo):
    hub.fail("GET", "w.bin", times=1, cut=True)
    assert download_file(REPO, "w.bin").read_bytes() == b"weights" * 1000


def test_what_stays_short_is_never_taken_for_whole(hub, repo, tmp_path):
    hub.fail("GET", "w.bin", cut=True)
    with pytest.raises(ConnectionError, match=r"downloading w\.bin of the repo org/net: the connection failed"):
        download_file(REPO, "w.bin")
    assert not [path for path in tmp_path.rglob("*") if path.name == "w.bin"]
    hub.heal()
    assert download_file(REPO, "w.bin").read_bytes() == b"weights" * 1000


def test_damaged_bytes_are_fetched_again_and_never_taken(hub, repo):
    hub.fail("GET", "a.json", times=1, corrupt=True)
    assert download_file(REPO, "a.json").read_bytes() == TEXT
    hub.fail("GET", "w.bin", corrupt=True)
    with pytest.raises(ConnectionError, match="arrives damaged"):
        download_file(REPO, "w.bin")
    hub.heal()
    assert download_file(REPO, "w.bin").read_bytes() == b"weights" * 1000


def test_a_damaged_cache_is_noticed(hub, repo):
    path = download_file(REPO, "a.json")
    path.resolve().write_bytes(TEXT.replace(b"1", b"2"))
    assert download_file(REPO, "a.json").read_bytes() == TEXT


def test_a_copy_in_the_cache_serves_where_the_hub_does_not(hub, repo, monkeypatch, caplog):
    download_file(REPO, "a.json")
    hub.fail("*", ".", status=503)
    with caplog.at_level(logging.WARNING):
        assert download_file(REPO, "a.json").read_bytes() == TEXT
    assert "Using the copy in the cache" in caplog.text
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download_file(REPO, "a.json").read_bytes() == TEXT
    with pytest.raises(ConnectionError, match="HF_HUB_OFFLINE=1 is set"):
        download_file(REPO, "w.bin")


def test_no_token_is_told(hub, repo, caplog, tmp_path):
    hub.fail("HEAD", "a.json", status=500)
    hub.fail("HEAD", "w.bin", status=400, headers={"X-Error-Message": f"what is {TOKEN}?"})
    for name in ("a.json", "w.bin"):
        with caplog.at_level(logging.DEBUG), pytest.raises((ValueError, OSError)) as raised:
            download_file(REPO, name, token=TOKEN)
        assert TOKEN not in str(raised.value)
        assert raised.value.__context__ is None  # which would hold the request, and so the token
    assert TOKEN not in caplog.text
    assert all(TOKEN.encode() not in file.read_bytes() for file in Path(tmp_path).rglob("*") if file.is_file())
    assert hub.requests[-1].token == TOKEN
