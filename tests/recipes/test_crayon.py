"""The recipe of CRAYON-Attention: weights, forms and what it refuses."""

import pytest
import torch
from tiny import explain, make_batch, tiny_family, tiny_model

from hf_guidance.attributions import GradCAM, InputXGradient, PredictedLogit
from hf_guidance.data.columns import ANSWER, NO, SAVED_MAP, UNANSWERED, YES
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import IrrelevantCRAYON, RelevantCRAYON
from hf_guidance.recipes import CRAYON_SETTINGS, crayon


def batch_of(answers):
    batch = make_batch(images=len(answers), size=(64, 96))
    return batch | {SAVED_MAP: torch.rand(len(answers), 5, 4, dtype=torch.float64), ANSWER: answers}


def test_weights_of_the_paper():
    guidance = crayon(3414, 152, "waterbirds")
    assert guidance["relevant"].weight == 1e7 / 3414
    assert guidance["irrelevant"].weight == 2e5 / 152
    assert guidance["relevant"].objective == RelevantCRAYON(GradCAM(), normalize="mass")
    predicted = GradCAM(target=PredictedLogit())
    assert crayon(10, 20, "imagenet9")["irrelevant"].objective == IrrelevantCRAYON(predicted)
    assert crayon(10, 20, "biased_celeba", alpha=3)["relevant"].weight == 0.3
    assert CRAYON_SETTINGS["imagenet9"].arguments["learning_rate"] == pytest.approx(1.28e-3)
    assert CRAYON_SETTINGS["imagenet9"].arguments["weight_decay"] == pytest.approx(3.9e-4, rel=2e-3)


def test_the_step_is_equation_4_over_the_batch_size():
    """Sums over the answered rows over the counts of the whole set, and the mean of the task."""
    model, family = tiny_model("resnet"), tiny_family("resnet")
    answers = [YES, NO, UNANSWERED, NO]
    batch, method = batch_of(answers), InputXGradient("mid3")
    guidance = crayon(7, 9, alpha=5.0, beta=3.0, attribution=method)
    forward = explain(model, family, batch, *(term.objective for term in guidance.values()))
    value, _ = guidance(forward)
    task = torch.nn.functional.cross_entropy(forward.logits(), batch["labels"], reduction="sum")
    relevant, irrelevant = RelevantCRAYON(method)(forward), IrrelevantCRAYON(method)(forward)
    whole = task + 5 / 7 * relevant[0] + 3 / 9 * (irrelevant[1] + irrelevant[3])
    assert torch.allclose(value, whole / len(answers), rtol=1e-12)


@pytest.mark.parametrize("answers", [[UNANSWERED] * 2, [YES, YES], [NO, NO]])
def test_batches_without_one_of_the_answers(answers):
    guidance = crayon(4, 4, alpha=1.0, beta=1.0)
    forward = explain(
        tiny_model("resnet"), tiny_family("resnet"), batch_of(answers), *(t.objective for t in guidance.values())
    )
    value, logs = guidance(forward)
    assert torch.isfinite(value)
    assert (logs["loss/relevant"] > 0) == (YES in answers)
    assert (logs["loss/irrelevant"] > 0) == (NO in answers)


def test_terms_without_weight_or_answers_are_left_out():
    assert sorted(crayon(3, 0, alpha=1, beta=1)) == ["relevant", "task"]
    assert sorted(crayon(3, 4, alpha=0, beta=1)) == ["irrelevant", "task"]
    assert sorted(crayon(3, 4, "waterbirds", beta=0)) == ["relevant", "task"]


def test_round_trip_through_a_file(tmp_path):
    guidance = crayon(3, 4, "imagenet9", normalize="mass")
    guidance.save(tmp_path)
    assert Guidance.from_pretrained(tmp_path) == guidance


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0, 0), {"dataset": "waterbirds"}, "no map was answered with yes or no"),
        ((-1, 3), {"dataset": "waterbirds"}, "relevant=-1 is no number of answers"),
        ((2.0, 3), {"dataset": "waterbirds"}, r"relevant=2\.0 is no number of answers"),
        ((2, True), {"dataset": "waterbirds"}, "irrelevant=True is no number of answers"),
        ((2, 3), {"dataset": "birds"}, r"dataset='birds' is unknown; choose one of \['waterbirds'"),
        ((2, 3), {"alpha": 1.0}, "beta is missing: give it, or dataset="),
        ((2, 3), {"alpha": float("nan"), "beta": 1}, "alpha=nan: give a finite number"),
        ((2, 3), {"alpha": 1, "beta": -1}, "beta=-1: give a finite number"),
        ((2, 0), {"alpha": 0, "beta": 1}, "leave no term"),
        ((2, 3), {"alpha": 1, "beta": 1, "normalize": "area"}, "normalize='area'"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        crayon(*arguments, **options)


def test_batches_without_answers_or_maps_are_refused():
    guidance = crayon(3, 4, alpha=1, beta=1)
    methods = [term.objective for term in guidance.values()]
    model, family, batch = tiny_model("resnet"), tiny_family("resnet"), batch_of([YES, NO])
    for column in (ANSWER, SAVED_MAP):
        less = {name: value for name, value in batch.items() if name != column}
        with pytest.raises(ValueError, match=f"no column '{column}'"):
            guidance(explain(model, family, less, *methods))
    with pytest.raises(ValueError, match="'answer' has 1 entries, the batch 2"):
        guidance(explain(model, family, batch | {ANSWER: [YES]}, *methods))
