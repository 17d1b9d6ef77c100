"""Options of a grid: read from a file, and written in one way."""

from __future__ import annotations

import json

import pytest

from hf_guidance.training.grid import DataArguments, GridArguments, parsed
from hf_guidance.training.grid.options import setting


def test_settings_are_the_same_in_any_order_and_notation():
    values = {"b": {"d": [0.1, {"f": 1, "e": 2}], "c": None}, "a": "x"}
    turned = {"a": "x", "b": {"c": None, "d": [0.1, {"e": 2, "f": 1}]}}
    assert setting(values) == setting(turned) == setting(json.dumps(values)) == str(turned)
    assert setting({"a": 1}) != setting({"a": 2})
    assert [setting(value) for value in (0.5, "{no json", None, "text")] == ["0.5", "{no json", "None", "text"]


def test_numbers_with_an_exponent_are_numbers_in_yaml(tmp_path):
    text = (
        "learning_rate: {e}\nweights: {{energy: [{e}], l1: [.5, 2]}}\nfractions: [{e}, 1.0]\nmax_drop: {e}\n"
        "baseline_learning_rates: {{bcos: {e}}}\nmodel_options: {{bcos: {{logit_bias: -{e}}}}}\n"
        'grids: [{{dilations: [{e}]}}]\ndata_dir: "1e5"\noutput_dir: 1e5_runs\n'
    )
    found = []
    for number, written in enumerate(("1e-4", "1.0e-4", "0.0001", "1.E-4")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text.format(e=written))
        found.append(parsed([str(file)], (GridArguments, DataArguments)))
    assert all(str(one) == str(found[1]) for one in found)  # text, as the settings of a grid are kept
    grid, data = found[0]
    assert grid.learning_rate == 1e-4
    assert grid.weights == {"energy": [1e-4], "l1": [0.5, 2]}
    assert grid.baseline_learning_rates == {"bcos": 1e-4}
    assert (data.data_dir, grid.output_dir) == ("1e5", "1e5_runs")


def test_a_file_without_options_is_told(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    with pytest.raises(ValueError, match=r"empty.yaml holds None; give options with values"):
        parsed([str(tmp_path / "empty.yaml")], (GridArguments,))


def test_a_command_line_gives_lists_as_words_and_names_as_json():
    words = ["--models", "bcos", "--losses", "energy", "l1", "--fractions", "0.1", "1", "--crop", "0.5"]
    grid, data = parsed([*words, "--weights", '{"l1": [0.1]}'], (GridArguments, DataArguments))
    assert (grid.models, grid.losses, grid.fractions, data.crop) == (["bcos"], ["energy", "l1"], [0.1, 1.0], 0.5)
    assert setting(grid.weights) == setting({"l1": [0.1]})
