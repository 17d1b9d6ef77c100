"""Finding what travels with the package."""

import pytest

from hf_guidance import metric_path
from hf_guidance.common import shipped_folders
from hf_guidance.common.shipped_folders import shipped_file


def test_package_comes_before_checkout(tmp_path, monkeypatch):
    package = tmp_path / "hf_guidance"
    for root in (tmp_path, package):
        folder = root / "metrics" / "mine"
        folder.mkdir(parents=True)
        (folder / "mine.py").touch()
    monkeypatch.setattr(shipped_folders, "__file__", str(package / "common" / "shipped_folders.py"))
    assert metric_path("mine") == str(package / "metrics" / "mine")
    (package / "metrics" / "mine" / "mine.py").unlink()
    assert metric_path("mine") == str(tmp_path / "metrics" / "mine")


def test_a_file_is_found_or_the_known_ones_are_named():
    assert shipped_file("model_cards", "dataset.md").is_file()
    with pytest.raises(ValueError, match=r"got 'data.md'; allowed: dataset.md, guided_model.md, metric.md"):
        shipped_file("model_cards", "data.md")
