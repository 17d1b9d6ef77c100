"""Fixtures of the metric tests: modules loaded as a user loads them, pairs of maps and masks, golden data."""

import importlib.util
import re
from pathlib import Path

import evaluate
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def its_packages(request):
    """A metric whose packages are not all installed is left out, with the reason."""
    callspec = getattr(request.node, "callspec", None)
    for value in callspec.params.values() if callspec else ():
        folder = ROOT / "metrics" / str(getattr(value, "name", value))
        if isinstance(value, (str, Path)) and (folder / "requirements.txt").is_file():
            for package in re.findall(r"^[\w-]+", (folder / "requirements.txt").read_text(), re.MULTILINE):
                if importlib.util.find_spec(package) is None:
                    pytest.skip(
                        f"{package}, which {folder.name} needs, is not installed: pip install 'hf-guidance[captions]'"
                    )


@pytest.fixture
def load():
    """Load a metric by the path of its folder."""
    return lambda name, **options: evaluate.load(str(ROOT / "metrics" / name), **options)


@pytest.fixture
def golden():
    """Read numbers obtained by running the authors' code."""

    def read(name, folder="model_guidance"):
        path = ROOT.parent / "shared" / "golden" / folder / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"golden data is absent: {path.name} lies outside of this repository")
        return np.load(path)

    return read


@pytest.fixture
def pairs():
    """Twelve maps and masks of different sizes, most of them not square, the last map without positive attribution."""
    rng = np.random.default_rng(0)
    sizes = [tuple(rng.integers(1, 12, 2)) for _ in range(12)]
    maps = [rng.normal(size=size) for size in sizes]
    maps[-1] = -np.abs(maps[-1])
    return maps, [(rng.random(size) > 0.6).astype(np.uint8) for size in sizes]
