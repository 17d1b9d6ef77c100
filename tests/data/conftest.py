import datasets
import pytest

from hf_guidance.data import dataset_builder


@pytest.fixture
def digits(tmp_path):
    """A small builder, not prepared."""
    datasets.disable_progress_bars()
    cache = str(tmp_path / "cache")
    return dataset_builder("digits_on_photos", cache_dir=cache, train_size=12, validation_size=4, test_size=4)
