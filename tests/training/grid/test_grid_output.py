"""The output folder of a grid: whose it is, and what is said of damaged files in it."""

from __future__ import annotations

import json

import pytest

from hf_guidance import Sweep
from hf_guidance.training.grid.output import claim, draw_fronts, folder_of

CELL = {"model": "bcos", "attribution": "paper", "layer": "final", "loss": "baseline", "weight": 0.0, "fraction": 1.0,
        "dilation": 0.0, "moved": 0, "seed": 0}  # fmt: skip
POINT = {"step": 2, "epoch": 1.0, "eval_f1": 0.5, "eval_epg": 0.5, "eval_attribution_iou": 0.1}
VALUES = {"val_f1": 0.5, "val_epg": 0.4, "val_attribution_iou": 0.1}


def test_a_folder_without_its_settings_or_with_damaged_ones_is_refused(tmp_path):
    settings = {"epochs": "1"}
    for kept in ("baselines", "cells"):
        (tmp_path / kept / kept).mkdir(parents=True)
        with pytest.raises(ValueError, match=r"holds a grid, but no settings.json.*give another output_dir, or remove"):
            claim(tmp_path / kept, settings)
    for number, text in enumerate(("", "[1]", '{"epochs": ')):
        file = tmp_path / str(number) / "settings.json"
        file.parent.mkdir()
        file.write_text(text)
        with pytest.raises(ValueError, match=rf"{number}/settings.json .*give another output_dir, or remove"):
            claim(file.parent, settings)
    claim(tmp_path / "new", settings)
    (tmp_path / "new" / "cells").mkdir()
    claim(tmp_path / "new", settings)


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
def test_damaged_rows_and_fronts_name_the_file_and_the_run(tmp_path, values, record, message):
    sweep = Sweep(tmp_path / "grid.csv", settings={"epochs": "1"})
    guided = {**CELL, "loss": "energy", "weight": 0.01}
    file = folder_of(guided, str(tmp_path)) / "pareto" / "pareto.json"
    if record is not None:
        file.parent.mkdir(parents=True)
        file.write_text(record)
    run = sweep.fingerprint(CELL if "grid.csv" in message else guided)
    with pytest.raises(ValueError, match=rf"{message}.*remove the line of run {run} from .*grid.csv"):
        draw_fronts([{**CELL, **values}, guided], sweep, str(tmp_path))


def test_points_with_undefined_metrics_are_left_out_of_the_picture(tmp_path):
    sweep = Sweep(tmp_path / "grid.csv")
    guided = {**CELL, "loss": "energy"}
    file = folder_of(guided, str(tmp_path)) / "pareto" / "pareto.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"points": [POINT, {**POINT, "step": 4, "eval_epg": None}]}))
    draw_fronts([{**CELL, **VALUES}, guided], sweep, str(tmp_path))
    assert (tmp_path / "fronts-bcos-paper-final.png").is_file()
