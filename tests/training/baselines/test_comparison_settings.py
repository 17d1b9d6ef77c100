"""The published settings make methods and arguments."""

from __future__ import annotations

import pytest
from placed_rows import small_model

from hf_guidance import GuidanceArguments
from hf_guidance.training import baselines
from hf_guidance.training.baselines import compared_settings


@pytest.mark.parametrize("dataset", ["waterbirds", "biased_celeba", "imagenet9"])
@pytest.mark.parametrize("name", ["JtT", "MaskTune", "LfF", "SoftCon", "FLAC", "LC", "CnC"])
def test_they_are_fields_of_the_method_and_of_the_arguments(name, dataset, tmp_path):
    known = compared_settings(name, dataset)
    given = (small_model(),) if name in ("SoftCon", "FLAC") else ()
    assert isinstance(getattr(baselines, name)(*given, **known.method), baselines.Method)
    args = GuidanceArguments(str(tmp_path), report_to="none", use_cpu=True, **known.arguments)
    assert all(getattr(args, key) == value for key, value in known.arguments.items())


def test_other_methods_and_data_sets_are_refused():
    with pytest.raises(ValueError, match="method='ERM' is unknown; choose one of"):
        compared_settings("ERM", "waterbirds")
    with pytest.raises(ValueError, match="dataset='cub' is unknown; choose one of"):
        compared_settings("JtT", "cub")
