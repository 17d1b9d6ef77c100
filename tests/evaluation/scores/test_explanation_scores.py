"""Explanation scores against numbers obtained by running the authors' code, and against loops."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from toy_vqa import fresh_region_model, region_batch, region_family

from hf_guidance.attributions import AttentionWeights, Attribution, Gradient, KeepOneIn, LeaveOneOut, PredictedLogit
from hf_guidance.evaluation.scores import explanation_metrics, explanation_scores, top_boxes
from hf_guidance.families.region_family import RegionFamily
from hf_guidance.views import negative_ones, zeros

NAMES = {
    "accuracy": "acc",
    "rrr_suff": "RRR_suff",
    "rrr_inv": "RRR_inv",
    "rrr_unc": "RRR_unc_pred",
    "full_probability": "output_pred",
    "sufficiency": "suff_model",
    "comprehensiveness": "comp_model",
    "plausibility": "plau_rank_corr",
    "top_box_iou": "plau_iou",
}
METHODS = {"KOI": KeepOneIn, "LOO": LeaveOneOut, "gradcam": Gradient}
FAMILY = RegionFamily(layers={}, inputs=("visual_feats", "question", "visual_attention_mask"))


class ToyUpDn(nn.Module):
    """The model that the golden numbers were made with, and a mask of padding."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.ParameterDict({name: nn.Parameter(torch.as_tensor(w)) for name, w in weights.items()})
        self.dropout = nn.Dropout(0.9)

    def forward(self, visual_feats, question, visual_attention_mask=None):
        w = self.weights
        hidden = self.dropout(torch.tanh(question @ w["Wq"]))
        scores = (torch.tanh(visual_feats @ w["Wv"]) * hidden[:, None]) @ w["u"]
        if visual_attention_mask is not None:
            scores = scores.masked_fill(visual_attention_mask == 0, -torch.inf)
        attended = (scores.softmax(1)[..., None] * visual_feats).sum(1)
        return {"logits": (torch.tanh(attended @ w["Wo"]) * hidden) @ w["Wc"]}


@dataclass(frozen=True)
class Given(Attribution):
    """Attributions from a column of the batch."""

    def __call__(self, forward):
        return forward.column("given")


def toy(objects=5, rows=7, seed=0, pad=False):
    """A toy model, a batch with a row without important box, and padding in half of the rows if wanted."""
    rng = np.random.default_rng(seed)
    shapes = {"Wv": (4, 6), "Wq": (3, 6), "u": (6,), "Wo": (4, 6), "Wc": (6, 4)}
    batch = {
        "visual_feats": rng.normal(size=(rows, objects, 4)),
        "question": rng.normal(size=(rows, 3)),
        "labels": rng.random((rows, 4)),
        "importance": rng.random((rows, objects)),
        "visual_attention_mask": np.ones((rows, objects), np.int64),
    }
    batch["importance"][1] = 0.1
    if pad:
        batch["visual_attention_mask"][::2, -2:] = 0
        batch["importance"][::2, -2:] = 0
    model = ToyUpDn({name: rng.normal(size=shape) for name, shape in shapes.items()})
    return model, {name: torch.as_tensor(value) for name, value in batch.items()}


def golden_batch(data, case):
    part = {name.partition("__")[2]: data[name] for name in data.files if name.startswith(f"c{case}__")}
    model = ToyUpDn({name[6:]: value for name, value in part.items() if name.startswith("model_")}).double()
    batch = {
        "visual_feats": torch.as_tensor(part["objs"]),
        "question": torch.as_tensor(part["question"]),
        "labels": torch.as_tensor(part["answers"]),
        "importance": torch.as_tensor(part["human_scores"][..., 0]),
        "given": torch.as_tensor(part["importance"]),
        **{f"invariance_{draw}": torch.as_tensor(mask) for draw, mask in enumerate(part["inv_masks"])},
    }
    return part, model, batch


@pytest.mark.parametrize("case", range(6))
def test_matches_official_code(golden, agree, case):
    part, model, batch = golden_batch(golden("visfis/metrics_full"), case)
    for method in (Given(), METHODS[json.loads(str(part["variant"]))["m"]](target=PredictedLogit())):
        scores = explanation_scores(
            model, FAMILY, [batch], attribution=method, threshold=float(part["threshold"]), official=True
        )
        for ours, theirs in NAMES.items():
            wanted = part[f"out_{theirs}"].astype(np.float64)
            assert np.array_equal(np.isnan(scores[ours]), np.isnan(wanted)), ours
            # Invariance was stored in float32.
            tolerance = 1e-7 if ours == "rrr_inv" else 1e-9
            agree(f"visfis/metrics_full ({ours})", np.nan_to_num(scores[ours]), np.nan_to_num(wanted), tolerance)
        assert np.allclose(scores["attribution"], part["importance"], rtol=1e-9)
    paper = explanation_scores(model, FAMILY, [batch], attribution=Given(), threshold=float(part["threshold"]))
    some = (batch["importance"] > float(part["threshold"])).any(1).numpy()
    assert paper["has_importance"].tolist() == some.tolist()
    assert not some.all()
    for name in NAMES:
        assert np.array_equal(paper[name][some], scores[name][some], equal_nan=True)
        if name.startswith("rrr") or name == "top_box_iou":
            assert np.isnan(paper[name][~some]).all()


@pytest.mark.parametrize("case", range(6))
def test_top_boxes_match_official_code(golden, agree, case):
    data = golden("visfis/faithfulness_masks")
    attribution = torch.as_tensor(data[f"c{case}__importance"])
    for percent in (10, 25, 50):
        top = top_boxes(attribution, percent / 100)
        agree("visfis/faithfulness_masks", top.double(), data[f"c{case}__keep_top_{percent}"], 0)
        agree("visfis/faithfulness_masks", (~top).double(), data[f"c{case}__remove_top_{percent}"], 0)


def test_top_boxes_of_padded_rows_are_those_without_padding():
    attribution = torch.randn(6, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    real = torch.arange(11) < torch.tensor([11, 10, 9, 4, 3, 1])[:, None]
    for share in (0.1, 0.25, 0.5, 0.9):
        top = top_boxes(attribution.masked_fill(~real, 9.0), share, real)
        for row, mask, count in zip(attribution, top, real.sum(1).tolist(), strict=True):
            assert torch.equal(mask[:count], top_boxes(row[None, :count], share)[0])
            assert not mask[count:].any()


def test_matches_loops():
    """One data point and one input at a time, padding cut off."""
    model, batch = toy(objects=8, pad=True)
    batch["given"] = torch.as_tensor(np.random.default_rng(5).normal(size=(7, 8)))
    scores = explanation_scores(model, FAMILY, [batch], attribution=Given(), threshold=0.6, levels=(0.3, 0.6))
    model.eval()
    for row in range(7):
        places = int(batch["visual_attention_mask"][row].sum())
        objects, e = batch["visual_feats"][row, :places], batch["importance"][row, :places]
        a, labels = batch["given"][row, :places], batch["labels"][row]

        def run(keep, objects=objects, row=row):
            edited = torch.where(torch.as_tensor(keep)[:, None], objects, -1.0)[None]
            return model(edited, batch["question"][row : row + 1])["logits"][0].detach().softmax(0)

        full = run([True] * places)
        assert scores["accuracy"][row] == pytest.approx(float(labels[full.argmax()]))
        assert scores["full_probability"][row] == pytest.approx(float(full.max()))
        for level, share in enumerate((0.3, 0.6)):
            cut = sorted(a.tolist(), reverse=True)[int(share * places)]
            top = (a > cut) & (a > 0)
            assert scores["kept_probabilities"][row, level] == pytest.approx(float(run(top)[full.argmax()]))
            assert scores["removed_probabilities"][row, level] == pytest.approx(float(run(~top)[full.argmax()]))
        if row != 1:
            assert scores["plausibility"][row] == pytest.approx(spearmanr(a, e).statistic)
        else:
            assert np.isnan(scores["plausibility"][row])
            assert not scores["has_importance"][row]
            continue
        assert scores["rrr_suff"][row] == pytest.approx(float(labels[run(e > 0.6).argmax()]))
        assert scores["rrr_unc"][row] == pytest.approx(float(run(e <= 0.6).max()))
        assert scores["rrr_inv"][row] in {draws / 3 for draws in range(4)}


def test_batches_and_modes():
    """Batches of any size give the same, ids are passed on, and the model is left as it was."""
    model, batch = toy(pad=True)
    model.train()
    model.weights.eval()
    columns = batch | {"question_id": [f"q{row}" for row in range(7)], "annotated": [True] * 5 + [False] * 2}
    columns |= {f"invariance_{draw}": torch.rand(7, 5) for draw in range(3)}
    slices = [slice(0, 3), slice(3, 7)]
    parts = [{name: column[part] for name, column in columns.items()} for part in slices]
    narrow = {name: v[:, :3] if name != "labels" and v.shape[1:2] == (5,) else v for name, v in batch.items()}
    options = {"attribution": Gradient(target=PredictedLogit()), "threshold": 0.5}
    whole = explanation_scores(model, FAMILY, [columns], **options)
    again = explanation_scores(model, FAMILY, parts, max_rows=3, **options)
    assert set(again) == set(whole)
    for name, values in whole.items():
        if name == "question_id":
            assert again[name].tolist() == columns["question_id"]
        else:
            assert np.allclose(again[name], values, equal_nan=True, rtol=1e-10), name
            assert values.dtype == (np.bool_ if name == "has_importance" else np.float64)
    assert not whole["has_importance"][5:].any()
    assert model.training
    assert model.dropout.training
    assert not model.weights.training
    assert all(parameter.grad is None for parameter in model.parameters())
    mixed = explanation_scores(model, FAMILY, [batch, narrow], **options)
    assert mixed["attribution"].shape == (14, 5)
    assert np.isnan(mixed["attribution"][7:, 3:]).all()
    assert "question_id" not in mixed


@pytest.mark.parametrize("name", ["updn", "pythia", "san", "lxmert"])
@pytest.mark.parametrize("replace", [negative_ones, zeros])
def test_models_of_the_library(name, replace):
    """Re-used encodings and masks instead of copies give what plain calls with edited features give."""
    model, batch = fresh_region_model(name), region_batch(4, padding=True)
    attribution = AttentionWeights() if name != "lxmert" else KeepOneIn(target=PredictedLogit())
    options = {"attribution": attribution, "threshold": 0.5, "levels": (0.5,), "replace": replace}
    scores = explanation_scores(model, region_family(name), [batch], **options)
    fill = -1.0 if replace is negative_ones else 0.0
    names = region_family(name).inputs

    def run(keep):
        features = torch.where(torch.as_tensor(keep)[..., None], batch["visual_feats"], fill)
        given = {key: value for key, value in batch.items() if key in names} | {"visual_feats": features}
        return model(**given)[region_family(name).logits].detach().softmax(1)

    full, rows = run(torch.ones(4, 5, dtype=torch.bool)), torch.arange(4)
    important = batch["importance"] > 0.5
    assert np.allclose(scores["full_probability"], full.amax(1), rtol=1e-9)
    assert np.allclose(scores["accuracy"], batch["labels"][rows, full.argmax(1)])
    some = scores["has_importance"]
    assert np.array_equal(some, important.any(1))
    assert np.allclose(scores["rrr_suff"][some], batch["labels"][rows, run(important).argmax(1)][some])
    assert np.allclose(scores["rrr_unc"][some], run(~important).amax(1)[some], rtol=1e-9)
    top = top_boxes(torch.as_tensor(scores["attribution"]).nan_to_num(), 0.5, batch["visual_attention_mask"] > 0)
    assert top.any()
    for column, keep in (("kept_probabilities", top), ("removed_probabilities", ~top)):
        assert np.allclose(scores[column][:, 0], run(keep)[rows, full.argmax(1)], rtol=1e-9)
    assert np.isnan(scores["attribution"]).tolist() == (batch["visual_attention_mask"] == 0).tolist()


@pytest.mark.parametrize("official", [False, True])
def test_metrics_are_means_of_the_scores(official):
    model, batch = toy(objects=8, pad=True)
    options = {"attribution": Gradient(target=PredictedLogit()), "threshold": 0.6}
    scores = explanation_scores(model, FAMILY, [batch, batch], official=official, **options)
    results = explanation_metrics(scores, without_important="keep" if official else "drop")
    for name in set(NAMES) - {"full_probability"}:
        assert results[name] == pytest.approx(np.nanmean(scores[name]), rel=1e-12), name
    assert results["rrr_excluded_share"] == (0 if official else pytest.approx(1 / 7))
    assert results["plausibility_undefined_share"] == pytest.approx(1 / 7)
    if not official:
        with pytest.raises(ValueError, match=r"without_important='keep'.*official=True"):
            explanation_metrics(scores, without_important="keep")


def test_nothing_is_important():
    model, batch = toy()
    batch["importance"] = torch.zeros(7, 5)
    scores = explanation_scores(model, FAMILY, [batch], attribution=Gradient(target=PredictedLogit()), threshold=0.5)
    results = explanation_metrics(scores)
    assert results["rrr_suff"] is results["plausibility"] is results["top_box_iou"] is None
    assert results["rrr_excluded_share"] == results["plausibility_undefined_share"] == 1.0


def test_class_indices_as_labels():
    model, batch = toy()
    batch["labels"] = torch.arange(7) % 4
    scores = explanation_scores(model, FAMILY, [batch], attribution=Gradient(target=PredictedLogit()), threshold=0.5)
    predicted = model.eval()(batch["visual_feats"], batch["question"])["logits"].argmax(1)
    assert scores["accuracy"].tolist() == (predicted == batch["labels"]).double().tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": (0.5, 1.0)}, r"levels=\(0\.5, 1\.0\); give shares"),
        ({"levels": ()}, r"levels=\(\)"),
        ({"inv_draws": 0}, "inv_draws=0; give at least 1"),
        ({"batches": []}, "batches holds no batch"),
        (
            {"attribution": Gradient(channels="keep", target=PredictedLogit())},
            r"gives \(7, 4, 5\) and column 'importance'",
        ),
    ],
)
def test_bad_input(change, message):
    model, batch = toy()
    options = {"batches": [batch], "attribution": Gradient(target=PredictedLogit()), "threshold": 0.5} | change
    with pytest.raises(ValueError, match=message):
        explanation_scores(model, FAMILY, options.pop("batches"), **options)
    assert model.training


@pytest.mark.parametrize("column", ["importance", "labels"])
def test_missing_column(column):
    model, batch = toy()
    del batch[column]
    with pytest.raises(ValueError, match=f"no column '{column}'"):
        explanation_scores(model, FAMILY, [batch], attribution=Gradient(target=PredictedLogit()), threshold=0.5)


def test_top_boxes_refuse_bad_input():
    with pytest.raises(ValueError, match="share=1"):
        top_boxes(torch.zeros(2, 3), 1)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        top_boxes(torch.zeros(3), 0.5)
