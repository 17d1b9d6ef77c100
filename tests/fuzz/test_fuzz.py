"""A few hundred broken documents a reader; `make fuzz` runs 100,000 over all."""

import pytest
from targets import TARGETS, fuzz


@pytest.mark.parametrize("name", TARGETS)
def test_broken_documents_end_in_documented_errors(name, tmp_path):
    count = fuzz(TARGETS[name], tmp_path, range(200))
    assert not count.faults
    assert count.taken >= 5
    assert count.refused >= 50
