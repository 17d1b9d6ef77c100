"""What becomes of ratings."""

import json

import datasets
import pytest
from comparisons import comparison_folder

from hf_guidance.apps.annotation.agreement import agreement
from hf_guidance.apps.annotation.items.scale import COMPARISON
from hf_guidance.apps.annotation.store import AnswerStore
from hf_guidance.apps.trust_study import ComparisonFolder, export_ratings, rating_table, study_preference


@pytest.fixture
def study(tmp_path):
    items = ComparisonFolder(comparison_folder(tmp_path / "trust", 4))
    with AnswerStore(tmp_path / "answers.sqlite", items.fingerprint, len(items), items.scale) as store:
        yield items, store


def rated(store):
    for place, points, swapped in ((0, 2, True), (1, -1, False), (2, 0, False)):
        store.put(place, "anna", str(points), swapped=swapped)
    for place, points, swapped in ((0, 1, False), (3, 1, True)):
        store.put(place, "ben", str(points), swapped=swapped)


def test_the_table(study):
    items, store = study
    rated(store)
    rows = rating_table(items, store)
    assert rows["id"][:] == ["row-0", "row-1", "row-2", "row-3"]
    assert rows["text"][3] == "a fork beside 3 plates"
    assert rows["mean_rating"][:] == [1.5, -1, 0, 1]
    assert rows["rating_of_anna"][:] == [2, -1, 0, None]
    assert rows["rating_of_ben"][:] == [1, None, None, 1]
    assert rows["shown_first_to_anna"][:] == ["hint", "unguided", "unguided", None]
    assert rows["shown_first_to_ben"][:] == ["unguided", None, None, "hint"]


def test_the_preference(study):
    items, store = study
    rated(store)
    found = study_preference(items, store, samples=100)
    assert (found.models, found.ratings, found.raters, found.comparisons) == (("unguided", "hint"), 5, 2, 4)
    assert found.counts == {-2: 0, -1: 1, 0: 1, 1: 2, 2: 1}
    assert (found.prefer_first.mean, found.equal.mean, found.prefer_second.mean) == (0.2, 0.2, 0.6)
    assert found.rating.mean == pytest.approx(3 / 5)
    # Of the four that prefer one: hint as Model 1 (anna, 0), unguided as Model 1 (anna, 1), hint as Model 2, hint as Model 1.
    assert found.prefer_shown_first == 0.75


def test_files(study, tmp_path):
    items, store = study
    with pytest.raises(ValueError, match="no rating yet"):
        export_ratings(items, store, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    rated(store)
    export_ratings(items, store, tmp_path / "out")
    loaded = datasets.load_dataset("parquet", data_files=str(tmp_path / "out" / "ratings.parquet"), split="train")
    assert loaded["rating_of_anna"][:] == [2, -1, 0, None]
    summary = json.loads((tmp_path / "out" / "preference.json").read_text())
    assert summary["prefer_second"]["mean"] == 0.6
    assert summary["models"] == ["unguided", "hint"]
    with pytest.raises(ValueError, match="is there already"):
        export_ratings(items, store, tmp_path / "out")


def test_agreement_knows_that_points_have_an_order():
    near = agreement({"anna": ["-2", "-1", "1", "2", None], "ben": ["-1", "-2", "2", "1", "0"]}, COMPARISON)
    far = agreement({"anna": ["-2", "-1", "1", "2", None], "ben": ["2", "1", "-1", "-2", "0"]}, COMPARISON)
    # 1 - sum w o / sum w e with w = (i - j)^2: o is 1 four times of four; e of marginals that are even over -2, -1, 1, 2.
    mean_square = sum((i - j) ** 2 for i in (-2, -1, 1, 2) for j in (-2, -1, 1, 2)) / 16
    assert near.kappa["anna", "ben"] == pytest.approx(1 - 1 / mean_square)
    assert far.kappa["anna", "ben"] == pytest.approx(1 - (16 + 4 + 4 + 16) / 4 / mean_square)
    assert near.alpha > 0.5
    assert far.alpha < -0.5
    assert near.shared["anna", "ben"] == 4
