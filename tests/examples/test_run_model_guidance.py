"""The script end to end: its rows, its pictures, and that a second call goes on where a kill stopped the first."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from forks import Fork, script
from tiny_grid import grid_file, rows_of
from transformers import AutoModelForImageClassification

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "run_model_guidance.py"


def test_a_killed_grid_goes_on_and_runs_nothing_twice(tmp_path):
    command = script(SCRIPT, grid_file(tmp_path, weights={"energy": [0.01], "l1": [0.01]}))
    first = Fork(command)
    limit = time.time() + 150
    while not (tmp_path / "out" / "grid.csv").is_file() and time.time() < limit and first.poll() is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    before = rows_of(tmp_path)
    assert before
    done = Fork(command)
    assert done.wait(300) == 0, done.err[-3000:]
    after = rows_of(tmp_path)
    assert all(old.items() <= new.items() for old, new in zip(before, after, strict=False))
    assert len({row["run"] for row in after}) == len(after) == 8
    *lines, last = done.out.splitlines()
    assert len(lines) == 8 - len(before)
    assert last == "8 rows in grid.csv, fronts-*.png beside it"
    for row in after:
        trained = row["loss"] != "baseline"
        for name in ("val_f1", "test_f1", "test_map", "test_epg", "test_attribution_iou", "test_on_object_epg"):
            assert 0 <= float(row[name]) <= 1
        assert bool(row["last_epg"]) == trained
        parts = [row[axis] for axis in ("model", "attribution", "layer", "loss")]
        kept = list((tmp_path / "out" / "cells").glob("-".join(parts) + "*/pareto/step-*"))
        assert len(kept) == trained  # the representative, and only it
        if trained:
            AutoModelForImageClassification.from_pretrained(kept[0])
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {
        f"fronts-{kind}.png"
        for kind in ("vanilla-paper-final", "bcos-paper-final", "xdnn-paper-input-fraction-dilation")
    }
