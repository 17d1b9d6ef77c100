"""Finding what travels with the package."""

from hf_guidance import metric_path
from hf_guidance.common import shipped_folders


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
