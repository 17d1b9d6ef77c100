"""The web pages of the metrics: they take the card's example, and all ask for the same versions."""

from __future__ import annotations

import json
import runpy
import sys
import tomllib
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import yaml
from metric_inputs import INPUTS

from hf_guidance.evaluation import export_metric

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "metrics").glob("*/README.md"))
every_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)

OWN = """
import datasets
import evaluate


class Mine(evaluate.Metric):
    def _info(self):
        number = datasets.Value("float64")
        features = datasets.Features({"predictions": number, "references": number})
        return evaluate.MetricInfo(description="Equal.", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        return {"mine": sum(p == r for p, r in zip(predictions, references)) / len(predictions)}
"""


class Refused(Exception):
    """Stands for gradio's Error."""


@pytest.fixture
def gradio(monkeypatch):
    fake = MagicMock(Error=Refused)
    monkeypatch.setitem(sys.modules, "gradio", fake)
    return fake


def texts(page, given):
    return [json.dumps(given.get(name)) for name in page["columns"]]


@every_folder
def test_the_page_computes_the_example_of_the_card(folder, gradio, load):
    page = runpy.run_path(str(folder / "app.py"))
    assert page["metric"].name == folder.name
    columns = {name: value for name, value in page["example"].items() if name in page["columns"]}
    chosen = {name: value for name, value in page["example"].items() if name not in columns}
    assert columns
    expected = load(folder.name).compute(**page["example"])
    assert page["compute"](*texts(page, columns), json.dumps(chosen)) == expected
    assert page["compute"](*texts(page, columns), "") is not None
    if folder.name in INPUTS:
        assert page["compute"](*texts(page, INPUTS[folder.name]), "{}") == load(folder.name).compute(
            **INPUTS[folder.name]
        )
    gradio.Blocks.return_value.__enter__.return_value.launch.assert_not_called()


@every_folder
def test_the_page_says_what_is_wrong(folder, gradio):
    page = runpy.run_path(str(folder / "app.py"))
    good = texts(page, page["example"])
    with pytest.raises(Refused, match=rf"{page['columns'][0]} is not JSON"):
        page["compute"]("[1,", *good[1:], "{}")
    for options in ("[]", '{"unknown": 1}'):
        with pytest.raises(Refused, match="options: give an object with some of the names"):
            page["compute"](*good, options)
    with pytest.raises(Refused):
        page["compute"](*["null"] * len(good), "{}")


def test_all_pages_are_one_file_for_one_gradio():
    assert len({(folder / "app.py").read_text() for folder in FOLDERS}) == 1
    headers = [yaml.safe_load((folder / "README.md").read_text().split("---\n", 2)[1]) for folder in FOLDERS]
    (version,) = {header["sdk_version"] for header in headers}
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["spaces"]
    assert extra == [f"gradio>={version.split('.')[0]}"]


@every_folder
def test_requirements_are_the_bounds_of_the_package(folder):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {*project["dependencies"], *project["optional-dependencies"]["captions"]}
    assert set((folder / "requirements.txt").read_text().split()) <= bounds


@every_folder
def test_the_page_is_built_by_the_real_gradio(folder):
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'hf-guidance[spaces]'")
    page = runpy.run_path(str(folder / "app.py"))
    labels = [block.label for block in page["page"].blocks.values() if getattr(block, "label", None)]
    assert {*page["columns"], "Result"} <= set(labels)


def test_the_page_of_a_metric_of_ones_own_runs_too(gradio, tmp_path):
    """Its card has another title, and no example."""
    (tmp_path / "mine.py").write_text(OWN)
    space = export_metric(tmp_path / "mine.py", tmp_path / "space")
    page = runpy.run_path(str(space / "app.py"))
    assert page["title"] == "Mine"
    assert page["compute"]("[1, 2]", "[1, 3]", "") == {"mine": 0.5}
    (space / "README.md").write_text("# Another\nText.\n")
    assert runpy.run_path(str(space / "app.py"))["title"] == "Another"
