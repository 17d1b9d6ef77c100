"""The grid end to end: its cells, its rows, and that a second call goes on where a kill stopped the first."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from transformers import AutoModelForImageClassification

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "run_model_guidance.py"
TINY = {
    "builder_config": {"train_size": 40, "validation_size": 12, "test_size": 12, "image_size": 32, "digit_size": 16},
    "image_size": 32, "batch_size": 20, "baseline_epochs": 1, "epochs": 1, "max_drop": 1.0, "segmentations": True, "crop": 0.7,
    "model_config": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "models": ["vanilla", "bcos"], "layers": ["final"], "losses": ["energy", "unguided"], "weights": {"energy": [0.01]},
    "grids": [{"models": ["xdnn"], "layers": ["input"], "losses": ["l1"], "fractions": [0.5], "dilations": [0.25]}],
}  # fmt: skip


def command(folder, **options):
    given = folder / "grid.yaml"
    given.write_text(json.dumps({**TINY, "output_dir": str(folder / "out"), **options}))  # JSON is YAML
    return [sys.executable, str(SCRIPT), str(given)]


def rows_of(folder):
    with (folder / "out" / "grid.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_killed_grid_goes_on_and_runs_nothing_twice(tmp_path):
    options = {"weights": {"energy": [0.01], "l1": [0.01]}}
    first = subprocess.Popen(command(tmp_path, **options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.time() + 150
    while not (tmp_path / "out" / "grid.csv").is_file() and time.time() < limit and first.poll() is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = rows_of(tmp_path)
    assert before
    done = subprocess.run(command(tmp_path, **options), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    after = rows_of(tmp_path)
    assert all(old.items() <= new.items() for old, new in zip(before, after, strict=False))
    assert len({row["run"] for row in after}) == len(after) == 8
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


WRONG = {
    "axis": ({"grids": [{"loss": ["l1"]}]}, "'loss' is no axis"),
    "no list": ({"grids": [{"losses": "l1"}]}, "give a list"),
    "split": ({"validation_split": "dev"}, "no split 'dev'"),
    "loss": ({"losses": ["enery"]}, "'enery' is unknown"),
    "layer": ({"layers": ["mid3"]}, "layer='mid3'"),
    "weights": ({"weights": {"enrgy": [0.1]}}, "enrgy"),
    "no weights": ({"weights": {"energy": []}}, "give a list of weights"),
    "moved": ({"moved": [2]}, "moved: 2 is unknown"),
    "dilation": ({"dilations": [-1.0]}, "is negative"),
    "fraction": ({"fractions": [0.001]}, "annotates none"),
    "crop": ({"crop": 0.0}, "crop=0.0 is no share"),
    "rates": ({"baseline_learning_rates": {"bocs": 0.1}}, "'bocs' is no model"),
}


def test_wrong_names_and_values_are_told_before_anything_is_trained(tmp_path):
    code = (
        "import json, runpy, sys\n"
        f"sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "import run_model_guidance\n"
        "said = {}\n"
        "for name, file in json.loads(sys.argv[1]).items():\n"
        "    sys.argv = ['x', file]\n"
        "    try:\n"
        "        run_model_guidance.main()\n"
        "    except ValueError as error:\n"
        "        said[name] = str(error)\n"
        "print('SAID', json.dumps(said))\n"
    )
    files = {}
    for name, (options, _) in WRONG.items():
        folder = tmp_path / name.replace(" ", "_")
        folder.mkdir()
        files[name] = command(folder, **options)[2]
    done = subprocess.run([sys.executable, "-c", code, json.dumps(files)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("SAID"))[5:])
    for name, (_, expected) in WRONG.items():
        assert expected in said.get(name, "nothing"), name
    assert not list(tmp_path.glob("*/out/*"))


def test_an_output_folder_is_of_one_setting(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "settings.json").write_text(json.dumps({"epochs": "7"}))
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=200)
    assert done.returncode != 0
    assert "holds a grid with other values of" in done.stderr
