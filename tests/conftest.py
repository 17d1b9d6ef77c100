from __future__ import annotations

import gc
import random
import time
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.file_download
import huggingface_hub.utils._http
import numpy as np
import pytest
import torch
from hub_server import Hub, in_this_process
from hypothesis import HealthCheck, settings
from tiny import relative_error

from hf_guidance.common import progress
from hf_guidance.common.hub import retry

# The same examples in every run, and no folder of earlier ones.
# On a busy machine data are drawn slowly; that says nothing about the code.
settings.register_profile("repeatable", derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")

_LARGEST: dict[str, list[float]] = {}


def pytest_collection_finish():
    """What was imported stays, so collections of garbage leave it out: a third of a second in every training."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    gc.unfreeze()  # the interpreter wants all of it back at its end


@pytest.fixture(autouse=True)
def outlived():
    """What outlives a long test, such as what it imported, is left out of the collections of the next ones."""
    before = time.process_time()
    yield
    if time.process_time() - before > 0.2:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def seeded():
    """Draws from the global generators are the same in every run, whatever ran before."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)


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
    for module in (huggingface_hub.utils._http, huggingface_hub.file_download):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
    return waited


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared golden numbers and data beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist: golden numbers and real data are not part of the repository")
    return folder


@pytest.fixture(scope="session")
def golden(shared):
    """Load shared/golden/<name>.npz."""
    return lambda name: np.load(shared / "golden" / f"{name}.npz", allow_pickle=False)


@pytest.fixture
def bars(monkeypatch):
    """The bars that were asked for, by what they say."""
    said, made = [], progress._bar

    def noted(items, what, options):
        said.append(what)
        return made(items, what, options)

    monkeypatch.setattr(progress, "_bar", noted)
    return said


@pytest.fixture
def agree():
    """Compare with golden numbers, and note the largest error of the file for the summary."""

    def compare(file: str, ours: object, theirs: object, tolerance: float = 1e-9) -> None:
        ours = ours.detach() if isinstance(ours, torch.Tensor) else torch.as_tensor(ours)
        error = relative_error(ours, torch.from_numpy(np.asarray(theirs, dtype=np.float64)))
        _LARGEST.setdefault(file, []).append(error)
        assert error <= tolerance, f"{file}: largest error {error:.2e} of the largest entry, allowed {tolerance:.0e}"

    return compare


def pytest_terminal_summary(terminalreporter):
    if _LARGEST:
        terminalreporter.write_sep("-", "golden numbers: arrays compared, largest error / largest entry")
        for file, errors in sorted(_LARGEST.items()):
            terminalreporter.write_line(f"{file:45s} {len(errors):5d} {max(errors):9.1e}")
