"""The grid end to end: its cells, its rows, and that a second call goes on where a kill stopped the first."""

from __future__ import annotations

import csv
import importlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
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


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return importlib.import_module("run_model_guidance")


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
    "rate text": ({"learning_rate": "1e-4"}, "learning_rate='1e-4'; give a finite number without quotes"),
    "weight text": ({"weights": {"energy": ["1e-3"]}}, "weights: energy='1e-3'; give a finite number"),
    "fraction text": ({"fractions": ["half"]}, "fractions='half'; give a finite number"),
    "dilation text": ({"grids": [{"dilations": ["0.1"]}]}, "dilations='0.1'; give a finite number"),
    "crop text": ({"crop": "0.7"}, "crop='0.7'; give a finite number"),
    "drop text": ({"max_drop": "NaN"}, "max_drop='NaN'; give a finite number"),
    "seed text": ({"seeds": ["0"]}, "seeds='0'; give a whole number"),
    "half a seed": ({"seeds": [0.5]}, "seeds=0.5; give a whole number"),
    "no seeds": ({"seeds": []}, "seeds=[]; give a list"),
    "negative seed": ({"seeds": [-1]}, "seeds: -1 is negative"),
    "moved true": ({"moved": [True]}, "moved=True; give a whole number"),
    "half an epoch": ({"epochs": 0.5}, "epochs=0.5; give a whole number"),
    "memory": ({"in_memory": "false"}, "in_memory='false'; give true or false"),
    "folder": ({"data_dir": 5}, "data_dir=5; give text"),
    "no json": ({"weights": "{energy"}, "weights='{energy' is no JSON"),
    "epochs": ({"epochs": 0}, "epochs=0 is too small; give at least 1"),
    "baseline epochs": ({"baseline_epochs": 0}, "baseline_epochs=0 is too small"),
    "batch": ({"batch_size": 0}, "batch_size=0 is too small"),
    "size": ({"image_size": 0}, "image_size=0 is too small"),
    "norm": ({"max_grad_norm": -1.0}, "max_grad_norm=-1.0 is too small; give at least 0"),
    "drop": ({"max_drop": -0.1}, "max_drop=-0.1 is too small; give at least 0"),
    "rate": ({"learning_rate": 0.0}, "learning_rate=0.0; give a rate above 0"),
    "baseline rate": ({"baseline_learning_rate": -0.1}, "baseline_learning_rate=-0.1; give a rate above 0"),
    "own rate": ({"baseline_learning_rates": {"bcos": 0}}, "baseline_learning_rates: bcos=0; give a rate above 0"),
    "own rate text": ({"baseline_learning_rates": {"bcos": "1"}}, "baseline_learning_rates: bcos='1'; give a finite"),
    "field": ({"model_config": {"hiden_sizes": [8]}}, "model_config: 'hiden_sizes' is no field"),
    "labels": ({"model_config": {"problem_type": "regression"}}, "model_config: 'problem_type' is no field"),
    "own field": ({"model_options": {"xdnn": {"logit_bias": 0.1}}}, "model_options: xdnn: 'logit_bias' is no field"),
    "own fields": ({"model_options": {"xdnn": 1}}, "model_options: xdnn=1; give names with values"),
    "grids": ({"grids": {"losses": ["l1"]}}, "grids={'losses': ['l1']}; give a list"),
    "grid": ({"grids": [["l1"]]}, "grids: an entry=['l1']; give names with values"),
    "list of weights": ({"weights": [1]}, "weights=[1]; give names with values"),
    "weights of a grid": ({"grids": [{"weights": [1]}]}, "weights=[1]; give names with values"),
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


def test_settings_are_the_same_in_any_order_and_notation(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from guidance_options import setting

    values = {"b": {"d": [0.1, {"f": 1, "e": 2}], "c": None}, "a": "x"}
    turned = {"a": "x", "b": {"c": None, "d": [0.1, {"e": 2, "f": 1}]}}
    assert setting(values) == setting(turned) == setting(json.dumps(values)) == str(turned)
    assert setting({"a": 1}) != setting({"a": 2})
    assert [setting(value) for value in (0.5, "{no json", None, "text")] == ["0.5", "{no json", "None", "text"]


def test_cells_are_the_same_in_any_notation_of_their_numbers(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from guidance_grid import GridArguments, cells_of

    def cells(one, zero):
        weights = json.dumps({"energy": [one]})
        return cells_of(GridArguments(losses=["energy"], weights=weights, fractions=[one], dilations=[zero]))

    assert str(cells(1, 0)) == str(cells(1.0, 0.0))


def test_an_output_folder_is_of_one_setting(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "settings.json").write_text(json.dumps({"epochs": "7"}))
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=200)
    assert done.returncode != 0
    assert "holds a grid with other values of" in done.stderr


def test_a_folder_without_its_settings_or_with_damaged_ones_is_refused(tmp_path, script):
    settings = {"epochs": "1"}
    for kept in ("baselines", "cells"):
        (tmp_path / kept / kept).mkdir(parents=True)
        with pytest.raises(ValueError, match=r"holds a grid, but no settings.json.*give another output_dir, or remove"):
            script.claim(tmp_path / kept, settings)
    for number, text in enumerate(("", "[1]", '{"epochs": ')):
        file = tmp_path / str(number) / "settings.json"
        file.parent.mkdir()
        file.write_text(text)
        with pytest.raises(ValueError, match=rf"{number}/settings.json .*give another output_dir, or remove"):
            script.claim(file.parent, settings)
    script.claim(tmp_path / "new", settings)
    (tmp_path / "new" / "cells").mkdir()
    script.claim(tmp_path / "new", settings)


@pytest.mark.parametrize("text", ["", "[]", '{"f1": 0.5}', '{"f1": 0.5, "step": 3}'])
def test_a_damaged_baseline_is_told(tmp_path, script, text):
    folder = tmp_path / "baselines" / "bcos-0"
    folder.mkdir(parents=True)
    (folder / "f1.json").write_text(text)
    with pytest.raises(ValueError, match=r"bcos-0/(f1.json|pareto/step-3).*remove .*bcos-0, and the next call trains"):
        script.baseline({"model": "bcos", "seed": 0}, None, SimpleNamespace(output_dir=str(tmp_path)))


CELL = {"model": "bcos", "attribution": "paper", "layer": "final", "loss": "baseline", "weight": 0.0, "fraction": 1.0,
        "dilation": 0.0, "moved": 0, "seed": 0}  # fmt: skip
POINT = {"step": 2, "epoch": 1.0, "eval_f1": 0.5, "eval_epg": 0.5, "eval_attribution_iou": 0.1}
VALUES = {"val_f1": 0.5, "val_epg": 0.4, "val_attribution_iou": 0.1}


@pytest.mark.parametrize(
    ("values", "record", "message"),
    [
        ({**VALUES, "val_epg": None}, None, "grid.csv: val_epg is None where a number is needed"),
        ({**VALUES, "val_f1": "0.5x"}, None, "grid.csv: val_f1 is '0.5x'"),
        ({}, None, "grid.csv: val_f1 is 'nothing'"),
        (VALUES, None, "pareto.json cannot be read"),
        (VALUES, '{"points": [', "pareto.json cannot be read"),
        (VALUES, '{"members": []}', r"pareto.json holds .*not \['points'\]"),
        (VALUES, '{"points": null}', "pareto.json: eval_f1 is 'None'"),
        (VALUES, json.dumps({"points": [{**POINT, "eval_epg": "high"}]}), "pareto.json: eval_epg is 'high'"),
        (VALUES, json.dumps({"points": [{"step": 2, "eval_f1": 0.5, "eval_epg": 0.5}]}), "eval_attribution_iou is 'nothing'"),
    ],
)  # fmt: skip
def test_damaged_rows_and_fronts_name_the_file_and_the_run(tmp_path, script, values, record, message):
    sweep = script.Sweep(tmp_path / "grid.csv", settings={"epochs": "1"})
    guided = {**CELL, "loss": "energy", "weight": 0.01}
    file = script.folder_of(guided, str(tmp_path)) / "pareto" / "pareto.json"
    if record is not None:
        file.parent.mkdir(parents=True)
        file.write_text(record)
    run = sweep.fingerprint(CELL if "grid.csv" in message else guided)
    with pytest.raises(ValueError, match=rf"{message}.*remove the row of run {run} from .*grid.csv"):
        script.draw_fronts([{**CELL, **values}, guided], sweep, str(tmp_path))


def test_points_with_undefined_metrics_are_left_out_of_the_picture(tmp_path, script):
    sweep = script.Sweep(tmp_path / "grid.csv")
    guided = {**CELL, "loss": "energy"}
    file = script.folder_of(guided, str(tmp_path)) / "pareto" / "pareto.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"points": [POINT, {**POINT, "step": 4, "eval_epg": None}]}))
    script.draw_fronts([{**CELL, **VALUES}, guided], sweep, str(tmp_path))
    assert (tmp_path / "fronts-bcos-paper-final.png").is_file()


def test_numbers_with_an_exponent_are_numbers_in_yaml(tmp_path, script):
    text = (
        "learning_rate: {e}\nweights: {{energy: [{e}], l1: [.5, 2]}}\nfractions: [{e}, 1.0]\nmax_drop: {e}\n"
        "baseline_learning_rates: {{bcos: {e}}}\nmodel_options: {{bcos: {{logit_bias: -{e}}}}}\n"
        'grids: [{{dilations: [{e}]}}]\ndata_dir: "1e5"\noutput_dir: 1e5_runs\n'
    )
    found = []
    for number, written in enumerate(("1e-4", "1.0e-4", "0.0001", "1.E-4")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text.format(e=written))
        found.append(script.parsed([str(file)], (script.GridArguments, script.DataArguments)))
    assert all(str(one) == str(found[1]) for one in found)  # text, as the settings of a grid are kept
    grid, data = found[0]
    assert grid.learning_rate == 1e-4
    assert grid.weights == {"energy": [1e-4], "l1": [0.5, 2]}
    assert grid.baseline_learning_rates == {"bcos": 1e-4}
    assert (data.data_dir, grid.output_dir) == ("1e5", "1e5_runs")


def test_a_file_without_options_is_told(tmp_path, script):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    with pytest.raises(ValueError, match=r"empty.yaml holds None; give options with values"):
        script.parsed([str(tmp_path / "empty.yaml")], (script.GridArguments,))


def test_only_a_front_without_a_representative_gives_a_row_without_scores(tmp_path):
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "import run_model_guidance as script\n"
        "def none(*given):\n"
        "    script.load_representative = damaged\n"
        "    raise script.NoRepresentative('none qualifies')\n"
        "def damaged(*given):\n"
        "    raise ValueError('the front is damaged')\n"
        "script.load_representative = none\n"
        "script.main()\n"
    )
    given = command(tmp_path, models=["vanilla"], losses=["energy", "l1"], grids=[])[2]
    done = subprocess.run([sys.executable, "-c", code, given], capture_output=True, text=True, timeout=300)
    assert "the front is damaged" in done.stderr
    assert [(row["loss"], bool(row["test_f1"])) for row in rows_of(tmp_path)] == [("baseline", True), ("energy", False)]
