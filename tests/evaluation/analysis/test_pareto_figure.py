import sys

import numpy as np
import pytest
from PIL import Image

from hf_guidance.evaluation.analysis import pareto_figure
from hf_guidance.evaluation.analysis.pareto_figure import _new_figure

RUNS = {
    "Energy": [{"f1": 0.80, "epg": 0.5, "attribution_iou": 0.1}, {"f1": 0.78, "epg": 0.7, "attribution_iou": 0.12}],
    "L1": [{"f1": 0.79, "epg": 0.45, "attribution_iou": 0.3}, {"f1": 0.7, "epg": 0.4, "attribution_iou": 0.2}],
}
BASELINE = {"f1": 0.81, "epg": 0.36, "attribution_iou": 0.08}


def test_a_picture_with_fronts_and_baseline(tmp_path, monkeypatch):
    figures = []

    def keep(panels):
        figures.append(_new_figure(panels))
        return figures[0]

    monkeypatch.setattr(sys.modules["hf_guidance.evaluation.analysis.pareto_figure"], "_new_figure", keep)
    pareto_figure(RUNS, tmp_path / "new" / "fronts.png", baseline=BASELINE, title="digits")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["fronts.png"]
    assert np.asarray(Image.open(tmp_path / "new" / "fronts.png").convert("L")).std() > 5
    epg, iou = figures[0].axes
    assert [(axis.get_xlabel(), axis.get_ylabel()) for axis in (epg, iou)] == [
        ("f1", "epg"),
        ("f1", "attribution_iou"),
    ]
    lines = {line.get_label(): np.stack(line.get_data(), 1).tolist() for line in epg.lines}
    assert lines["Energy"] == [[0.78, 0.7], [0.8, 0.5]]  # along the horizontal axis
    assert lines["L1"] == [[0.79, 0.45]]  # the other point is dominated
    assert lines["baseline"] == [[0.81, 0.36]]
    assert [text.get_text() for text in epg.get_legend().get_texts()] == ["Energy", "L1", "baseline"]


def test_other_planes_without_baseline(tmp_path):
    pareto_figure({"a": [{"map": 1, "iou": 2}]}, tmp_path / "one.svg", planes=[("map", "iou")])
    assert "<svg" in (tmp_path / "one.svg").read_text()


def test_a_picture_that_fails_leaves_the_one_before(tmp_path):
    file = tmp_path / "fronts.png"
    pareto_figure(RUNS, file)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="not supported"):
        pareto_figure(RUNS, tmp_path / "fronts.tune")
    with pytest.raises(ValueError, match="bins"):
        pareto_figure(RUNS, file, bins=-1)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["fronts.png"]


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        ({}, {}, "0 runs and 2 planes"),
        (RUNS, {"planes": []}, "2 runs and 0 planes"),
        (RUNS | {"PPCE": []}, {}, "run 'PPCE' has no points, so it has no front"),
        ({"a": [{"f1": 1.0, "epg": 0.5}]}, {}, r"point 0 of run 'a' lacks \['attribution_iou'\]; it has \['epg', 'f1'\]"),
        (RUNS, {"baseline": {"f1": 0.8, "epg": None, "attribution_iou": 0.1}}, "baseline: epg is None, not a finite number"),
        ({"a": [{"f1": "1", "epg": 0.5, "attribution_iou": 0.1}]}, {}, "point 0 of run 'a': f1 is '1', not a finite number"),
        (RUNS, {"baseline": {"f1": 0.8}}, r"baseline lacks \['attribution_iou', 'epg'\]; it has \['f1'\]"),
        ({"a": [BASELINE | {"epg": float("nan")}]}, {}, "point 0 of run 'a': epg is nan, not a finite number"),
    ],
)  # fmt: skip
def test_bad_input(tmp_path, runs, options, message):
    with pytest.raises(ValueError, match=message):
        pareto_figure(runs, tmp_path / "fronts.png", **options)
    assert not list(tmp_path.iterdir())


def test_a_path_without_a_suffix_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"fronts has no suffix, which decides the format; write .*fronts.png"):
        pareto_figure(RUNS, tmp_path / "fronts")
    assert not list(tmp_path.iterdir())
