"""The built wheel carries metrics and builders, and they work outside the repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hf_guidance

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import evaluate, numpy as np
import hf_guidance
assert hf_guidance.__file__.startswith(sys.argv[1]), hf_guidance.__file__
metric = evaluate.load(hf_guidance.metric_path("epg"))
half = np.zeros((4, 6)); half[:, :3] = 1
print(metric.compute(predictions=[np.ones((4, 6))], references=[half])["epg"])
builder = hf_guidance.dataset_builder("pascal_voc", data_dir=sys.argv[2], cache_dir=sys.argv[1] + "/cache")
builder.download_and_prepare()
print(sum(len(split) for split in builder.as_dataset().values()))
from hf_guidance.data import export_dataset
print((export_dataset(builder, sys.argv[1] + "/exported") / "README.md").read_text().count("## Splits"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    return next(folder.glob("*.whl"))


def test_its_version_is_that_of_the_package(wheel):
    assert wheel.name.split("-")[1] == hf_guidance.__version__
    assert f"\n## [{hf_guidance.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert "hf_guidance/py.typed" in zipfile.ZipFile(wheel).namelist()


def test_it_holds_every_metric_and_builder(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "hf_guidance/data/columns.py" in names
    assert "hf_guidance/data/captions/coco_visual_words.json" in names
    for kind in ("metrics", "dataset_scripts"):
        for folder in (f for f in (ROOT / kind).iterdir() if (f / f"{f.name}.py").is_file()):
            assert f"hf_guidance/{kind}/{folder.name}/{folder.name}.py" in names
    for template in (ROOT / "model_cards").glob("*.md"):
        assert f"hf_guidance/model_cards/{template.name}" in names


def test_metric_and_builder_work_from_it_outside_the_repository(wheel, shared, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "site"), str(shared / "data" / "bccd_voc")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["0.5", "364", "1"]
