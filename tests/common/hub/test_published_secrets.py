"""What holds a token is not published, wherever in the file and however written."""

import json

import pytest
from hub_server import TOKEN

from hf_guidance.common.hub import create_repo, upload_files
from hf_guidance.common.hub.secrets import refuse_secrets

OTHER = "hf_" + "AnotherTokenOfSomeone" * 2
PLAIN = "0123456789abcdef0123456789abcdef"  # of no form


def safetensors(text):
    head = json.dumps(
        {"__metadata__": {"note": text}, "x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    ).encode()
    return len(head).to_bytes(8, "little") + head + b"\0"


@pytest.fixture(autouse=True)
def session(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("SOME_API_KEY", PLAIN)


@pytest.mark.parametrize("secret", [TOKEN, OTHER, PLAIN])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_a_secret_in_a_text_is_found(secret, encoding, tmp_path):
    (tmp_path / "notes.txt").write_bytes(f"my key is {secret}, keep it".encode(encoding))
    with pytest.raises(ValueError, match=r"sub/notes\.txt holds (your|what looks like a) token") as raised:
        refuse_secrets({"a.txt": b"", "sub/notes.txt": tmp_path / "notes.txt"})
    assert secret not in str(raised.value)


def test_one_that_is_given_is_found():
    with pytest.raises(ValueError, match="holds your token"):
        refuse_secrets({"a.txt": b"the word of a wise woman"}, "word of a wise woman")


@pytest.mark.parametrize("at", [(1 << 20) - 10, 1 << 20, 70 << 20])
def test_a_large_file_is_searched_to_its_end(at, tmp_path):
    with (tmp_path / "log").open("wb") as file:
        file.seek(at)
        file.write(OTHER.encode())
    with pytest.raises(ValueError, match="log holds what looks like a token"):
        refuse_secrets({"log": tmp_path / "log"})


def test_the_head_of_safetensors_is_searched_and_the_numbers_are_not(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(safetensors(OTHER))
    with pytest.raises(ValueError, match=r"model\.safetensors holds what looks like a token"):
        refuse_secrets({"model.safetensors": file})
    file.write_bytes(safetensors("nothing") + OTHER.encode())
    refuse_secrets({"model.safetensors": file})
    file.write_bytes(OTHER.encode())  # which is no safetensors
    with pytest.raises(ValueError, match="holds"):
        refuse_secrets({"model.safetensors": file})


def test_what_is_none_is_published():
    texts = [
        "hf_guidance",
        "hf_home = 1",
        "x" + OTHER,
        "HF_TOKEN=hf_...",
        "hf_model_name_with_many_words_in_it_for_tests_alone",
    ]
    refuse_secrets({"a.txt": "\n".join(texts).encode()}, "short", None, "")


@pytest.mark.parametrize("token", [f"{TOKEN}\n", "", "hf_ü", "hf_a b"])
def test_a_token_that_no_request_can_carry_is_refused(hub, pauses, token):
    with pytest.raises(ValueError, match=r"making the repo me/x: the token (is empty|holds a line end)") as raised:
        create_repo("me/x", token=token)
    assert not token or token.strip() not in str(raised.value)
    with pytest.raises(ValueError, match="the token"):
        upload_files("me/x", {"a": b"b"}, message="all", token=token)
    assert not hub.requests
