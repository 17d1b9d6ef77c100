"""What takes long goes through a bar: each is asked for by what it says."""

from __future__ import annotations

import datasets
import numpy as np
from tiny import fresh_model

from hf_guidance import Sweep
from hf_guidance.data.annotated import annotated_flags
from hf_guidance.evaluation.analysis import bootstrap_mean
from hf_guidance.families.structure.places import places_of


def test_bootstrap(bars):
    bootstrap_mean(np.arange(10.0), samples=100)
    assert bars == ["bootstrap"]


def test_a_sweep_counts_the_runs_that_are_left(bars, tmp_path):
    sweep, cells = Sweep(tmp_path / "grid.csv"), [{"seed": seed} for seed in range(3)]
    sweep.run(cells[:1], lambda cell: {"x": 1})
    sweep.run(cells, lambda cell: {"x": 1})
    assert bars == ["runs of the sweep"] * 2


def test_finding_layers(bars):
    model = fresh_model("resnet")
    assert dict(places_of(model).layers())["final"]
    assert "finding layers" in bars


def test_annotated_rows(bars):
    rows = [{"objects": [{"bbox": [0.0, 0.0, 1.0, 1.0]}] if n < 3 else [], "annotated": n > 0} for n in range(8)]
    assert sum(annotated_flags(datasets.Dataset.from_list(rows), ("objects",))) == 2
    assert bars == ["counting annotated rows"]
    assert sum(annotated_flags(datasets.Dataset.from_list(rows).remove_columns("annotated"), ("objects",))) == 3
    assert sum(annotated_flags(datasets.Dataset.from_list(rows), ("mask",))) == 0
    assert sum(annotated_flags(rows, ("objects",))) == 2
    assert annotated_flags([], ("objects",)) == []
    assert annotated_flags(None, ()) is None
