"""The shared real data, and builders with a cache of their own."""

from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

from hf_guidance.data.builders import dataset_builder

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _no_progress_bars():
    datasets.disable_progress_bars()


@pytest.fixture
def shared() -> Callable[[str], str]:
    def find(name: str) -> str:
        if not (SHARED / name).is_dir():
            pytest.skip(f"no ../shared/data/{name}")
        return str(SHARED / name)

    return find


@pytest.fixture
def build(tmp_path):
    """A builder with a cache of its own: build("pascal_voc", data_dir=...)."""
    return lambda name, **options: dataset_builder(name, **{"cache_dir": str(tmp_path / "cache"), **options})


@pytest.fixture
def prepare(build):
    """All splits of a builder, and the builder."""

    def run(name: str, num_proc: int | None = None, **options):
        builder = build(name, **options)
        builder.download_and_prepare(num_proc=num_proc)
        return builder.as_dataset(), builder

    return run
