"""Words as explained rows: each equals its own autograd, twice differentiated; words of different images share a backward."""

import pytest
import torch
from tiny import explain, parameter_gradients, relative_error
from toy_captions import OBJECTS, TIMES, WORDS, caption_batch, captioner

from hf_guidance import Guidance, Term
from hf_guidance.attributions import (
    AttentionWeights,
    ExpectedGradients,
    Gradient,
    InputXGradient,
    KeepOneIn,
    LabelLogit,
    LeaveOneOut,
    PredictedLogit,
    WordLogit,
)
from hf_guidance.families import family_of
from hf_guidance.objectives import CaptionLoss, RankingHINT, TaskLoss
from hf_guidance.views import FULL

MODEL = captioner().train()
FAMILY = family_of(MODEL)
LABEL = {"label": LabelLogit(), "first": WordLogit(), "sum": WordLogit("sum"), "predicted": PredictedLogit()}


def score_alone(model, batch, index, name, features):
    """The score of one word: its logit at its time, in a call with this caption alone."""
    image, time = batch["row"][index], batch["time"][index]
    given = {key: batch[key][image : image + 1] for key in ("input_ids", "visual_attention_mask")}
    logits = model(visual_feats=features, **given).logits[0]
    if name == "predicted":
        return logits[time].max()
    tokens = batch["word_tokens"][index].tolist() if name == "sum" else [int(batch["target"][index])]
    return sum(logits[time + place, token] for place, token in enumerate(tokens) if token >= 0)


def alone(model, batch, name):
    """A graph and a backward for every word: (rows, objects, dims)."""
    found = []
    for index, image in enumerate(batch["row"]):
        features = batch["visual_feats"][image : image + 1].clone().requires_grad_()
        score = score_alone(model, batch, index, name, features)
        found.append(torch.autograd.grad(score, features, create_graph=True)[0][0])
    return torch.stack(found)


@pytest.mark.parametrize("name", LABEL)
def test_gradients_are_those_of_one_word_at_a_time(name):
    batch = caption_batch()
    forward = explain(MODEL, FAMILY, batch, Gradient(target=LABEL[name]))
    ours, expected = forward.gradient("input", LABEL[name]).transpose(1, 2), alone(MODEL, batch, name)
    assert ours.shape == expected.shape
    assert relative_error(ours, expected) < 1e-12
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = parameter_gradients((ours * weights).sum() + ours.square().sum(), MODEL)
    wanted = parameter_gradients((expected * weights).sum() + expected.square().sum(), MODEL)
    for (parameter, _), first, second in zip(MODEL.named_parameters(), found, wanted, strict=True):
        assert relative_error(first, second) < 1e-10, parameter


def test_words_of_different_images_share_a_backward(monkeypatch):
    calls, real = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *args, **more: calls.append(1) or real(*args, **more))
    explain(MODEL, FAMILY, caption_batch(), Gradient()).attribution(Gradient())
    assert len(calls) == 4, "seven words, four of them in one caption"


def test_a_batch_without_words():
    batch = caption_batch()
    none = {
        name: batch[name][:0] for name in ("row", "slot", "time", "target", "word_tokens", "annotated", "importance")
    }
    for method in (Gradient(target=WordLogit()), InputXGradient(target=WordLogit()), LeaveOneOut(target=WordLogit())):
        assert explain(MODEL, FAMILY, batch | none, method).attribution(method).shape == (0, OBJECTS)


def test_attention_of_a_word():
    batch = caption_batch()
    maps = explain(MODEL, FAMILY, batch, AttentionWeights()).attribution(AttentionWeights())
    given = {key: batch[key] for key in ("input_ids", "visual_feats", "visual_attention_mask")}
    assert relative_error(maps, MODEL(**given).attention[batch["row"], batch["time"]]) < 1e-14


@pytest.mark.parametrize(
    "method",
    [InputXGradient(), ExpectedGradients(), LeaveOneOut(), KeepOneIn()],
    ids=lambda method: type(method).__name__,
)
def test_other_methods_explain_words(method):
    batch = caption_batch()
    torch.manual_seed(0)
    maps = explain(MODEL, FAMILY, batch, method).attribution(method)
    assert maps.shape == (len(batch["row"]), OBJECTS)
    assert torch.isfinite(maps).all()
    assert not maps[4:, 3:].any(), "boxes that are padding"
    assert not torch.allclose(maps[0], maps[1])


def test_leaving_out_a_box_is_told_by_the_score_of_the_word():
    batch, method = caption_batch(), LeaveOneOut(target=WordLogit("sum"))
    maps = explain(MODEL, FAMILY, batch, method).attribution(method)
    for index, image in enumerate(batch["row"]):
        whole = batch["visual_feats"][image : image + 1]
        for box in range(3):
            edited = whole.clone()
            edited[:, box] = -1.0
            scores = [score_alone(MODEL, batch, index, "sum", features) for features in (whole, edited)]
            assert maps[index, box].item() == pytest.approx((scores[0] - scores[1]).item(), abs=1e-12)


def test_a_guidance_of_words():
    batch = caption_batch()
    hint = RankingHINT(Gradient(target=WordLogit()))
    guidance = Guidance(task=CaptionLoss(), hint=Term(hint, 0.5))
    loss, _ = guidance(explain(MODEL, FAMILY, batch, CaptionLoss(), hint), None)
    gradients, labels = alone(MODEL, batch, "first").sum(2), batch["labels"]
    real = batch["visual_attention_mask"][batch["row"]].bool()
    pairs = torch.zeros((), dtype=torch.float64)
    for row in range(len(gradients)):
        importance = batch["importance"][row]
        for i in range(OBJECTS):
            for j in range(OBJECTS):
                if real[row, i] and real[row, j] and importance[i] > importance[j]:
                    pairs = pairs + (gradients[row, j] - gradients[row, i]).clamp_min(0)
    given = {key: batch[key] for key in ("input_ids", "visual_feats", "visual_attention_mask")}
    scores = MODEL(**given).logits.log_softmax(-1)
    task = -sum(scores[image, time, labels[image, time]] for image, time in (labels != -100).nonzero().tolist())
    expected = (task + 0.5 * pairs) / len(labels)
    assert relative_error(loss, expected) < 1e-12
    ours, wanted = parameter_gradients(loss, MODEL), parameter_gradients(expected, MODEL)
    for first, second in zip(ours, wanted, strict=True):
        assert relative_error(first, second) < 1e-10


def test_mean_over_the_words_of_a_caption():
    batch = caption_batch()
    total, mean = (CaptionLoss(words) for words in ("sum", "mean"))
    values = [objective(explain(MODEL, FAMILY, batch, objective)) for objective in (total, mean)]
    assert torch.allclose(values[1] * torch.tensor([6.0, 4.0, 5.0]), values[0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"time": None}, r"logits are \(3, 6, 11\), and the batch has no column 'time'"),
        ({"time": [0] * 6}, "column time has 6 entries, the batch 7 explained rows"),
        ({"time": [0, 1, 3, TIMES, 0, 1, 2]}, "column time holds 6, and the model gives logits for the times 0 to 5"),
        ({"time": [0, 1, 3, -1, 0, 1, 2]}, "column time holds -1"),
        ({"word_tokens": torch.full((7, 1), WORDS)}, "'word_tokens' holds token 11, and the model knows 11"),
        ({"word_tokens": torch.full((7, 1), -1)}, "with at least one token each"),
        ({"word_tokens": torch.zeros(7, 3, dtype=torch.long)}, "goes on behind the last of 6 times"),
        ({"word_tokens": None}, "no column 'word_tokens'"),
    ],
)
def test_bad_words_are_named(columns, message):
    batch = {name: value for name, value in (caption_batch() | columns).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        explain(MODEL, FAMILY, batch, Gradient(target=WordLogit("sum"))).attribution(Gradient(target=WordLogit("sum")))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.full((3, TIMES), WORDS), "labels hold tokens from 11 to 11, and the model knows 0 to 10"),
        (torch.full((3, TIMES), -100), "caption of image 0 of the batch has no word"),
        (torch.zeros(3, TIMES + 1, dtype=torch.long), r"labels \(3, 7\)"),
        (torch.zeros(3, TIMES), "torch.float32"),
    ],
)
def test_bad_captions_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        CaptionLoss()(explain(MODEL, FAMILY, caption_batch() | {"labels": labels}, CaptionLoss()))
    with pytest.raises(ValueError, match="words="):
        CaptionLoss("each")
    with pytest.raises(ValueError, match="label_smoothing"):
        CaptionLoss(label_smoothing=1.0)


def test_captions_that_are_missing_are_named():
    batch = caption_batch()
    del batch["input_ids"]
    with pytest.raises(ValueError, match=r"no column 'input_ids' with the words.*CaptionCollator\(\)"):
        explain(MODEL, FAMILY, batch, CaptionLoss())
    with pytest.raises(ValueError, match=r"logits have shape \(3, 6, 11\).*CaptionLoss"):
        TaskLoss()(explain(MODEL, FAMILY, caption_batch(), TaskLoss()))


def test_a_time_where_logits_have_none():
    forward = explain(MODEL, FAMILY, caption_batch(), CaptionLoss())
    with pytest.raises(ValueError, match=r"logits are \(3, 11\), and the batch has a column 'time'"):
        forward.logits_of_rows(forward.logits(FULL)[None, :, 0])
