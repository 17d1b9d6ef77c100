"""The runs of a grid: what is refused before they begin, and rows of runs without a representative."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
from tiny_grid import grid_options, rows_of

from hf_guidance.evaluation.analysis import NoRepresentative
from hf_guidance.training.grid import run_grid, runs

WRONG = {
    "axis": ({"grids": [{"loss": ["l1"]}]}, "grids: axis='loss' is unknown; choose one of"),
    "no list": ({"grids": [{"losses": "l1"}]}, "give a list"),
    "split": ({"validation_split": "dev"}, "no split 'dev'"),
    "loss": ({"losses": ["enery"]}, "losses='enery' is unknown; choose one of"),
    "layer": ({"layers": ["mid3"]}, "layer='mid3'"),
    "weights": ({"weights": {"enrgy": [0.1]}}, "enrgy"),
    "no weights": ({"weights": {"energy": []}}, "give a list of weights"),
    "moved": ({"moved": [2]}, "moved=2 is unknown; choose one of [0, 1]"),
    "dilation": ({"dilations": [-1.0]}, "is negative"),
    "fraction": ({"fractions": [0.001]}, "annotates none"),
    "crop": ({"crop": 0.0}, "crop=0.0 is not a share"),
    "rates": ({"baseline_learning_rates": {"bocs": 0.1}}, "model='bocs' is unknown; choose one of"),
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
    "no json": ({"weights": "{energy"}, "weights='{energy' is not JSON"),
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
    "field": ({"model_config": {"hiden_sizes": [8]}}, "model_config: field='hiden_sizes' is unknown"),
    "labels": ({"model_config": {"problem_type": "regression"}}, "model_config: field='problem_type' is unknown"),
    "own field": (
        {"model_options": {"xdnn": {"logit_bias": 0.1}}},
        "model_options: xdnn: field='logit_bias' is unknown",
    ),
    "own fields": ({"model_options": {"xdnn": 1}}, "model_options: xdnn=1; give names with values"),
    "grids": ({"grids": {"losses": ["l1"]}}, "grids={'losses': ['l1']}; give a list"),
    "grid": ({"grids": [["l1"]]}, "grids: an entry=['l1']; give names with values"),
    "list of weights": ({"weights": [1]}, "weights=[1]; give names with values"),
    "weights of a grid": ({"grids": [{"weights": [1]}]}, "weights=[1]; give names with values"),
}


@pytest.mark.parametrize(("options", "expected"), WRONG.values(), ids=WRONG)
def test_wrong_names_and_values_are_told_before_anything_is_trained(tmp_path, options, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        run_grid(*grid_options(tmp_path, **options))
    assert not (tmp_path / "out").exists()


def test_an_output_folder_is_of_one_setting(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "settings.json").write_text(json.dumps({"epochs": "7"}))
    with pytest.raises(ValueError, match="holds a grid with other values of"):
        run_grid(*grid_options(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", '{"f1": 0.5}', '{"f1": 0.5, "step": 3}'])
def test_a_damaged_baseline_is_told(tmp_path, text):
    folder = tmp_path / "baselines" / "bcos-0"
    folder.mkdir(parents=True)
    (folder / "f1.json").write_text(text)
    with pytest.raises(ValueError, match=r"bcos-0/(f1.json|pareto/step-3).*remove .*bcos-0, and the next call trains"):
        runs.baseline({"model": "bcos", "seed": 0}, None, SimpleNamespace(output_dir=str(tmp_path)))


def test_only_a_front_without_a_representative_gives_a_row_without_scores(tmp_path, monkeypatch):
    errors = iter([NoRepresentative("none qualifies"), ValueError("the front is damaged")])

    def fails(*given):
        raise next(errors)

    monkeypatch.setattr(runs, "load_representative", fails)
    with pytest.raises(ValueError, match="the front is damaged"):
        run_grid(*grid_options(tmp_path, models=["vanilla"], losses=["energy", "l1"], grids=[]))
    assert [(row["loss"], bool(row["test_f1"])) for row in rows_of(tmp_path)] == [("baseline", True), ("energy", False)]
