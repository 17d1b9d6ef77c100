"""Every number that a metric gives says which way it is better."""

from pathlib import Path

import evaluate
import numpy as np
import pytest
from metric_inputs import INPUTS

from hf_guidance.training.best_model import higher_is_better

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[2] / "metrics").glob("*/README.md"))
SETTINGS = {"threshold"}  # told with the result, no measure


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_number_of_every_metric_is_declared(folder):
    pairs = {"predictions": [np.ones((2, 2))], "references": [np.eye(2)]}
    results = evaluate.load(str(folder)).compute(**INPUTS.get(folder.name, pairs))
    numbers = {name for name, value in results.items() if isinstance(value, int | float)} - SETTINGS
    assert numbers
    assert [name for name in numbers if higher_is_better(name) is None] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_it_is_what_the_readme_says(folder):
    lines = [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("- `")]
    said = {
        line.split("`")[1]: higher
        for line in lines
        for word, higher in (("higher is better", True), ("lower is better", False))
        if word in line.lower()
    }
    assert said
    assert {name: higher_is_better(name) for name in said} == said
