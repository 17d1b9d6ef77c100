"""Folders of maps: whole or absent after any kill, never mixed, nothing computed twice."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from extracting import PROCESSOR, ROWS, labels_of, maps_by_hand
from kills import KILLED, kill_before
from tiny import BUILDERS
from transformers import ViTImageProcessor

from hf_guidance.attributions import (
    GradCAM,
)
from hf_guidance.data import SavedMaps
from hf_guidance.evaluation import extract_maps
from hf_guidance.evaluation.extraction import shards as shards_file
from hf_guidance.forward import Forward


def test_nothing_is_computed_twice(tmp_path, rows, model, no_model, monkeypatch):
    with monkeypatch.context() as allowed:
        allowed.setattr("hf_guidance.evaluation.extraction.batches.Forward", Forward)
        maps = extract_maps(model, rows, tmp_path, PROCESSOR, shard_rows=3)
    again = extract_maps(model, rows, tmp_path, PROCESSOR, batch_size=1, shard_rows=5)
    assert again.fingerprint == maps.fingerprint
    again.check(model, rows)


@pytest.mark.parametrize("damage", ["missing", "cut", "other rows"])
def test_a_missing_or_damaged_shard_alone_is_made_again(tmp_path, rows, model, monkeypatch, damage):
    expected = extract_maps(model, rows, tmp_path, PROCESSOR, shard_rows=3).taken(range(ROWS))
    shard, other = tmp_path / "maps-00001-of-00003.arrow", tmp_path / "maps-00000-of-00003.arrow"
    content = shard.read_bytes()
    shard.unlink()
    if damage != "missing":
        shard.write_bytes(content[: len(content) // 2] if damage == "cut" else other.read_bytes())
    calls = []
    monkeypatch.setattr(
        "hf_guidance.evaluation.extraction.batches.Forward",
        lambda *given, **options: (calls.append(1), Forward(*given, **options))[1],
    )
    maps = extract_maps(model, rows, tmp_path, PROCESSOR)
    assert np.array_equal(maps.taken(range(ROWS)), expected)
    assert len(calls) == 1


def others(model, rows):
    """What differs -> model, rows and options of another extraction."""
    torch.manual_seed(7)
    changed = BUILDERS["resnet"]()
    larger = ViTImageProcessor(size={"height": 64, "width": 64})
    return {
        "model": (changed, rows, {"processor": PROCESSOR}),
        "attribution": (model, rows, {"processor": PROCESSOR, "attribution": GradCAM(relu=False)}),
        "layer": (model, rows, {"processor": PROCESSOR, "attribution": GradCAM("mid2")}),
        "rows": (model, rows.select([1, 0, *range(2, ROWS)]), {"processor": PROCESSOR}),
        "processor": (model, rows, {"processor": larger}),
        "arguments": (model, rows, {"processor": PROCESSOR, "model_arguments": {"output_hidden_states": True}}),
    }


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("name", ["model", "attribution", "layer", "rows", "processor", "arguments"])
def test_maps_of_something_else_are_refused(tmp_path, rows, model, no_model, monkeypatch, name, finished):
    with monkeypatch.context() as allowed:
        allowed.setattr("hf_guidance.evaluation.extraction.batches.Forward", Forward)
        extract_maps(model, rows, tmp_path, PROCESSOR)
    if not finished:
        facts = json.loads((tmp_path / "maps.json").read_text())
        (tmp_path / "unfinished.json").write_text(json.dumps(facts))
        (tmp_path / "maps.json").unlink()
    other, other_rows, options = others(model, rows)[name]
    with pytest.raises(ValueError, match=rf"made of something else \(.*{name}: .* there, .* given"):
        extract_maps(other, other_rows, tmp_path, **options)


def test_overwriting_deletes_what_is_there_and_nothing_else(tmp_path, rows, model):
    extract_maps(model, rows, tmp_path, PROCESSOR, shard_rows=2)
    (tmp_path / "answers.json").write_text("[]")
    maps = extract_maps(model, rows.select(range(3)), tmp_path, PROCESSOR, shard_rows=2, overwrite=True)
    assert len(maps) == 3
    names = {"maps-00000-of-00002.arrow", "maps-00001-of-00002.arrow", "maps.json", "answers.json"}
    assert {file.name for file in tmp_path.iterdir()} == names


def test_shards_without_a_list_are_not_trusted(tmp_path, rows, model):
    torch.manual_seed(7)
    extract_maps(BUILDERS["resnet"](), rows, tmp_path, PROCESSOR, shard_rows=3)
    (tmp_path / "maps.json").unlink()
    maps = extract_maps(model, rows, tmp_path, PROCESSOR, shard_rows=3)
    expected = maps_by_hand(model, rows, GradCAM(), target=labels_of(rows))
    assert np.allclose(maps.taken(range(ROWS)), expected, atol=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test copies its process, which this system cannot")
def test_a_kill_at_any_moment_loses_one_shard_at_most(tmp_path, rows, model):
    expected = extract_maps(model, rows, tmp_path / "whole", PROCESSOR, shard_rows=3).taken(range(ROWS))
    operation, status = 0, KILLED
    while status == KILLED:
        operation += 1
        folder = tmp_path / str(operation)
        status = kill_before(operation, folder, lambda: extract_maps(model, rows, folder, PROCESSOR, shard_rows=3))  # noqa: B023
        before = {file.name: file.stat().st_mtime_ns for file in folder.glob("maps-*.arrow")}
        if status == KILLED and not (folder / "maps.json").exists():
            with pytest.raises(ValueError, match=r"unfinished|holds no maps"):
                SavedMaps.from_folder(folder)
        maps = extract_maps(model, rows, folder, PROCESSOR, shard_rows=3)
        assert np.array_equal(maps.taken(range(ROWS)), expected)
        assert {name: (folder / name).stat().st_mtime_ns for name in before} == before  # whole shards are kept
        assert len(list(folder.iterdir())) == 4
    assert status == 0
    assert operation > 8


def test_no_draft_is_read(tmp_path, rows, model, monkeypatch):
    """A shard that fails while it is written leaves nothing behind."""

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(shards_file, "write_shard", full)
    with pytest.raises(OSError, match="no space"):
        extract_maps(model, rows, tmp_path, PROCESSOR)
    assert [file.name for file in tmp_path.iterdir()] == ["unfinished.json"]


@pytest.mark.slow  # two processes import everything
def test_two_processes_write_what_one_does(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (here, here.parent, here.parents[1])))
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    run = subprocess.run(
        [sys.executable, *launcher, str(here / "distributed_maps.py"), str(tmp_path / "two")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    from distributed_maps import extracted

    one, two = extracted(tmp_path / "one"), SavedMaps.from_folder(tmp_path / "two")
    assert two.fingerprint == one.fingerprint
    assert np.allclose(two.taken(range(ROWS)), one.taken(range(ROWS)), atol=1e-6)
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)] == ["0 2", "1 3"]
