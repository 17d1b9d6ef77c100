from types import SimpleNamespace

import huggingface_hub.utils._http
import pytest
from hub_server import Hub, in_this_process

from hf_guidance.common.hub import retry


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A local Hub that huggingface_hub in this process uses, with a cache of its own."""
    with Hub() as server, in_this_process(server, tmp_path / "home", monkeypatch):
        yield server


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that would be waited between tries; nobody waits."""
    waited = []
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=waited.append))
    monkeypatch.setattr(huggingface_hub.utils._http, "time", SimpleNamespace(sleep=lambda seconds: None))
    return waited
