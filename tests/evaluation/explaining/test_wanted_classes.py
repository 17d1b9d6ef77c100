"""Targets: by number, name and rank, one or several an image; and the scores of the classes."""

import numpy as np
import pytest
import torch
from nets import Linear

from hf_guidance import explain
from hf_guidance.attributions import ContrastLogits, InputXGradient, PredictedLogit, SoftLabelLogits
from hf_guidance.evaluation.explaining.targets import wanted_classes

NAMES = ["cat", "dog", "bird", "fish"]
WEIGHT = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
MODEL = Linear(WEIGHT, NAMES)
PIXELS = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
LOGITS = torch.einsum("nchw,kchw->nk", PIXELS, WEIGHT).numpy()
METHOD = InputXGradient()


def found(target=None, pixels=PIXELS, model=MODEL, **options):
    return explain(model, pixels, target=target, attribution=METHOD, **options)


def hand_map(image, number):
    return (PIXELS[image] * WEIGHT[number]).sum(0).numpy()


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        (None, LOGITS.argmax(1)[:, None]),
        (2, [[2], [2], [2]]),
        ("dog", [[1], [1], [1]]),
        ([0, "fish", np.int64(2)], [[0], [3], [2]]),
        (torch.tensor([3, 0, 1]), [[3], [0], [1]]),
        (np.array([3, 0, 1]), [[3], [0], [1]]),
        ([[0, "dog"], 3, (2, 1, 0)], [[0, 1], [3], [2, 1, 0]]),
        ([None, [None, 0], 1], [[LOGITS[0].argmax()], [LOGITS[1].argmax(), 0], [1]]),
    ],
)
def test_maps_of_every_way_to_name_classes(target, classes):
    explanations = found(target)
    pairs = [(image, int(number)) for image, numbers in enumerate(classes) for number in numbers]
    assert [(one.index, one.target) for one in explanations] == pairs
    assert explanations.labels == [NAMES[number] for _, number in pairs]
    for one, (image, number) in zip(explanations, pairs, strict=True):
        assert np.abs(one.map - hand_map(image, number)).max() < 1e-14
        assert one.logit == pytest.approx(LOGITS[image, number], abs=1e-12)
        assert np.abs(one.logits - LOGITS[image]).max() < 1e-12


def test_a_list_for_a_single_image_holds_its_classes():
    assert found(["dog", 0], PIXELS[1]).targets == [1, 0]


def test_top_k():
    explanations = found(top_k=3)
    assert explanations.targets == np.argsort(-LOGITS, axis=1)[:, :3].flatten().tolist()
    assert [len(found) for found in explanations.by_image()] == [3, 3, 3]
    scores = explanations.scores.reshape(3, 3)
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("dogs", {}, r"target='dogs' is no label of this model; the nearest labels are \['dog'"),
        ("zzz", {}, r"the labels begin \['cat', 'dog'"),
        (4, {}, "target=4, and the model has 4 classes"),
        (-1, {}, "target=-1: give the number of a class"),
        (True, {}, "target=True: give the number"),
        (1.5, {}, "target=1.5: give the number"),
        ([0, 1], {}, "target has 2 entries and there are 3 images"),
        ([0, [], 1], {}, "target has no class for image 1"),
        ([0, 1, 9], {"batch_size": 1}, "target=9, and the model has 4 classes"),
        (None, {"top_k": 5}, "top_k=5, and the model has 4 classes"),
        (None, {"top_k": 0}, "top_k=0 with target=None"),
        (1, {"top_k": 2}, "top_k=2 with target=1"),
        (None, {"batch_size": 0}, "batch_size=0; give a whole number"),
        (None, {"max_rows": 1.0}, "max_rows=1.0; give a whole number"),
    ],
)
def test_what_does_not_exist_is_refused(target, options, message):
    with pytest.raises(ValueError, match=message):
        found(target, **options)


def test_a_class_that_a_late_image_lacks_is_refused_early():
    calls = []
    model = Linear(WEIGHT, NAMES)
    model.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(ValueError, match="target=9"):
        found([0, 1, 9], model=model, batch_size=1)
    assert len(calls) == 1


def test_scores_are_probabilities_by_problem_type():
    softmax = torch.tensor(LOGITS).softmax(1).numpy()
    assert np.abs(found().scores - softmax.max(1)).max() < 1e-12
    several = Linear(WEIGHT, NAMES, "multi_label_classification")
    assert np.abs(found(1, model=several).scores - torch.tensor(LOGITS).sigmoid().numpy()[:, 1]).max() < 1e-12
    assert found(model=several).targets == LOGITS.argmax(1).tolist()
    plain = Linear(WEIGHT, NAMES, "regression")
    assert np.abs(found(1, model=plain).scores - LOGITS[:, 1]).max() < 1e-12
    one = Linear(WEIGHT[:1], ["yes"])
    assert np.abs(found(model=one).scores - torch.tensor(LOGITS).sigmoid().numpy()[:, 0]).max() < 1e-12


def test_a_model_without_names_has_numbers():
    assert found(2, model=Linear(WEIGHT)).labels == ["2", "2", "2"]
    with pytest.raises(ValueError, match="'cat' is no label"):
        found("cat", model=Linear(WEIGHT))


def test_targets_of_the_attribution():
    contrast = InputXGradient(target=ContrastLogits())
    (one,) = explain(MODEL, PIXELS[:1], attribution=contrast, target=0)
    rival = int(np.where(np.arange(4) == 0, -np.inf, LOGITS[0]).argmax())
    sign = np.sign(LOGITS[0, 0] - LOGITS[0, rival])
    assert np.abs(one.map - sign * (hand_map(0, 0) - hand_map(0, rival))).max() < 1e-13
    predicted = InputXGradient(target=PredictedLogit())
    assert explain(MODEL, PIXELS, attribution=predicted).targets == LOGITS.argmax(1).tolist()
    with pytest.raises(ValueError, match="explains the predicted class, whatever target says"):
        explain(MODEL, PIXELS, attribution=predicted, target=0)
    with pytest.raises(ValueError, match="no column 'labels'"):
        explain(MODEL, PIXELS, attribution=InputXGradient(target=SoftLabelLogits()))


def test_nan_is_no_class():
    with pytest.raises(ValueError, match="logits are NaN"):
        found(pixels=PIXELS * np.nan)
    with pytest.raises(ValueError, match="logits are NaN or infinite for 1 of 3 images"):
        found(pixels=torch.cat([PIXELS[:2], PIXELS[2:] * np.inf]).nan_to_num(nan=0, posinf=1e308))


def test_a_label_of_several_classes_is_not_guessed():
    with pytest.raises(ValueError, match=r"target='crane' is the label of several classes of this model, \[0, 2\]"):
        wanted_classes("crane", None, 1, True, ["crane", "dog", "crane"])
