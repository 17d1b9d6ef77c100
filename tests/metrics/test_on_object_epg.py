import numpy as np
import pytest
import torch


def slow_share(attribution, box, seg):
    """Appendix B of arXiv 2303.11932, one pixel at a time; None where it is undefined."""
    on_object = inside = 0.0
    for row in range(attribution.shape[0]):
        for column in range(attribution.shape[1]):
            value = max(float(attribution[row, column]), 0.0) * float(box[row, column])
            inside += value
            on_object += value * float(seg[row, column])
    return on_object / inside if inside >= 1e-7 else None


@pytest.fixture
def triples(pairs):
    rng = np.random.default_rng(5)
    return {
        "predictions": pairs[0],
        "references": pairs[1],
        "segmentations": [(rng.random(mask.shape) > 0.5).astype(np.uint8) for mask in pairs[1]],
    }


def test_matches_the_formula_of_the_paper(load, golden):
    data = golden("metric_on_object_epg")
    cases = range(int(data["n_cases"]))
    given = {
        name: [data[f"c{case}_{key}"] for case in cases]
        for name, key in (("predictions", "attr"), ("references", "boxmask"), ("segmentations", "segmask"))
    }
    metric, expected = load("on_object_epg"), data["on_object_epg_paper"]
    assert metric.compute(**given)["on_object_epg"] == pytest.approx(expected.mean(), rel=1e-9)
    for case in cases:
        one = metric.compute(**{name: [column[case]] for name, column in given.items()})
        assert one["on_object_epg"] == pytest.approx(float(expected[case]), rel=1e-9, abs=1e-12)
    assert (data["seg_epg_repro"] != expected).any()  # another quantity, which tests/metrics/test_epg.py computes


@pytest.mark.parametrize("soft", [False, True])
def test_matches_loops(load, triples, soft):
    if soft:
        rng = np.random.default_rng(6)
        for name in ("references", "segmentations"):
            triples[name] = [rng.random(mask.shape) for mask in triples[name]]
    shares = [slow_share(*planes) for planes in zip(*triples.values(), strict=True)]
    defined = [share for share in shares if share is not None]
    found = load("on_object_epg").compute(**triples)
    assert found["on_object_epg"] == pytest.approx(sum(defined) / len(shares), rel=1e-12)
    assert found["undefined_share"] == pytest.approx(1 - len(defined) / len(shares))
    dropped = load("on_object_epg").compute(**triples, undefined="drop")
    assert dropped["on_object_epg"] == pytest.approx(np.mean(defined), rel=1e-12)
    assert 0 < len(defined) < len(shares)


def test_what_lies_outside_of_the_boxes_does_not_matter(load):
    attribution, box, seg = np.array([[2.0, 6, 5]]), np.array([[1, 1, 0]]), np.array([[0, 1, 0]])
    for far, leak in ((0, 0), (1e6, 0), (-3, 1), (1e6, 1)):
        attribution[0, 2], seg[0, 2] = far, leak
        found = load("on_object_epg").compute(predictions=[attribution], references=[box], segmentations=[seg])
        assert found == {"on_object_epg": 0.75, "undefined_share": 0.0}


def test_undefined(load):
    ones, none = np.ones((2, 2)), np.zeros((2, 2))
    given = {"predictions": [ones, -ones], "references": [none, ones], "segmentations": [ones, ones]}
    metric = load("on_object_epg")
    assert metric.compute(**given, undefined="drop") == {"on_object_epg": 0.0, "undefined_share": 1.0}
    metric.add_batch(**given)
    with pytest.raises(ValueError, match=r"undefined is 'skip'; allowed are \"zero\""):
        metric.compute(undefined="skip")
    assert metric.compute() == {"on_object_epg": 0.0, "undefined_share": 1.0}  # nothing was lost


def test_kinds_of_input(load, triples):
    expected = load("on_object_epg").compute(**triples)
    for change in (
        lambda plane: plane.tolist(),
        lambda plane: torch.tensor(plane, dtype=torch.float64, requires_grad=True),
        lambda plane: np.asfortranarray(plane),
    ):
        given = {name: [change(plane) for plane in column] for name, column in triples.items()}
        assert load("on_object_epg").compute(**given) == expected
    stacked = {name: np.stack([column[0]] * 3) for name, column in triples.items()}
    one = {name: column[:1] for name, column in triples.items()}
    assert load("on_object_epg").compute(**stacked) == load("on_object_epg").compute(**one)


def test_maps_are_not_kept(load, triples):
    metric = load("on_object_epg", keep_in_memory=True)
    metric.add_batch(**triples)
    assert metric.writer.schema.types == [metric.writer.schema.types[0]] * 3
    assert str(metric.writer.schema.types[0]) == "double"


GOOD = np.ones((2, 2))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((np.ones((3, 4)), GOOD, GOOD), r"predictions\[2\] has shape \(3, 4\) but references\[2\] has shape \(2, 2\)"),
        ((GOOD, GOOD, np.ones((2, 3))), r"predictions\[2\] has shape \(2, 2\) but segmentations\[2\].*resize"),
        ((GOOD, GOOD, np.ones((1, 2, 2))), r"segmentations\[2\] has shape \(1, 2, 2\); allowed is \(height, width\)"),
        ((GOOD * np.nan, GOOD, GOOD), r"predictions\[2\] holds NaN or infinity in 4 of 4 pixels"),
        ((GOOD, GOOD, GOOD * np.inf), r"segmentations\[2\] holds NaN or infinity"),
        ((GOOD, 255 * GOOD, GOOD), r"references\[2\] holds values from 255 to 255.*divide .* by 255"),
        ((GOOD, GOOD, -GOOD), r"segmentations\[2\] holds values from -1 to -1"),
        (([["a"]], GOOD, GOOD), r"predictions\[2\] is not an array of numbers"),
    ],
)
def test_bad_rows(load, row, message):
    metric = load("on_object_epg")
    metric.add(prediction=GOOD, reference=GOOD, segmentations=np.eye(2))
    with pytest.raises(ValueError, match=message):
        metric.add_batch(predictions=[GOOD, row[0]], references=[GOOD, row[1]], segmentations=[GOOD, row[2]])
    assert metric.compute() == {"on_object_epg": 0.5, "undefined_share": 0.0}


def test_bad_batches(load):
    metric = load("on_object_epg")
    with pytest.raises(ValueError, match="2 predictions, 2 references, 1 segmentations"):
        metric.compute(predictions=[GOOD, GOOD], references=[GOOD, GOOD], segmentations=[GOOD])
    with pytest.raises(ValueError, match="segmentations is of type NoneType; allowed is a list"):
        metric.compute(predictions=[GOOD], references=[GOOD])
    with pytest.raises(ValueError, match="Nothing was added"):
        metric.compute()
    with pytest.raises(ValueError, match="Nothing was added"):
        metric.compute(predictions=[], references=[], segmentations=[])
