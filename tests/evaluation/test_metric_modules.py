"""Metrics by their names."""

from pathlib import Path

import pytest

from hf_guidance import metric_path

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in (ROOT / "metrics").glob("*/*.py")))
def test_metric_path(folder):
    path = Path(metric_path(folder))
    assert path.is_absolute()
    assert (path / f"{folder}.py").is_file()


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"metrics: got 'nothing'; allowed: "):
        metric_path("nothing")
