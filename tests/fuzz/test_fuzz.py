"""A few hundred broken documents a reader; `make fuzz` runs 100,000 over all."""

import numpy as np
import pytest
from targets import TARGETS, fuzz

from hf_guidance.data.builder_base import read_json
from hf_guidance.data.images.labels import no_labels


@pytest.mark.parametrize("name", TARGETS)
def test_broken_documents_end_in_documented_errors(name, tmp_path):
    count = fuzz(TARGETS[name], tmp_path, range(100 if name == "card metadata" else 200))
    assert not count.faults
    assert count.taken >= 5
    assert count.refused >= 50 or not TARGETS[name].documented


@pytest.mark.parametrize("start", ["[", '{"a":'])
def test_json_too_deep_for_python_is_named(start, tmp_path):
    end = {"[": "]"}.get(start, "}")
    (tmp_path / "deep.json").write_text(start * 100_000 + "1" + end * 100_000)
    with pytest.raises(ValueError, match=r"deep\.json: its lists and objects lie too deep"):
        read_json(tmp_path / "deep.json")


@pytest.mark.parametrize(
    "objects", [{"bbox": 3, "categories": 1}, 7, {"bbox": [[0, 0, 2, 2]]}, "x", [{"category": 1}], [3]]
)
def test_objects_without_labels_are_refused_whatever_they_are(objects):
    with pytest.raises(ValueError, match="has 'objects' but no 'labels'"):
        no_labels({"image": None, "objects": objects}, "row 4")


@pytest.mark.parametrize(
    "objects", [None, [], {"bbox": [], "category": []}, {"bbox": np.zeros((0, 4)), "category": None}]
)
def test_no_objects_are_no_importance(objects):
    assert no_labels({"image": None, "objects": objects}, "row 4")
