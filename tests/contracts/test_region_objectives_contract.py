"""What every objective promises on region features, those without attribution too."""

from dataclasses import fields

import pytest
import torch
from tiny import explain, parameter_gradients, relative_error
from toy_vqa import region_batch as questions_batch
from toy_vqa import region_family, region_model

from hf_guidance import objectives
from hf_guidance.attributions import Gradient, InputXGradient
from hf_guidance.data.columns import ANSWER, GROUP, ROLE, SAVED_MAP, YES
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import AttributionObjective, Objective, SavedMapObjective
from hf_guidance.views import ImportantOrRandom, RandomKeep, negative_ones

BASES = (Objective, AttributionObjective, SavedMapObjective)
ALL = [
    cls
    for cls in (getattr(objectives, name) for name in objectives.__all__)
    if issubclass(cls, Objective) and cls not in BASES
    if not issubclass(cls, objectives.TaskLoss | objectives.CaptionLoss)  # of classes, or of words, not of answers
]
GUIDED = [cls for cls in ALL if not issubclass(cls, objectives.AnswerLoss)]
OF_GROUPS = (objectives.ContrastiveSOrT, objectives.AttentionSQuINT)  # one number for several questions
WITH_VARIANTS = [cls for cls in ALL if any(f.name == "variant" for f in fields(cls))]
WITH_THRESHOLD = [cls for cls in ALL if any(f.name == "threshold" for f in fields(cls))]


def variants():
    return [(cls, {}) for cls in ALL] + [(cls, {"variant": "official"}) for cls in WITH_VARIANTS]


def region_batch(images, **options):
    """With maps saved earlier, as high as human importance, all answered alike; three questions are a group."""
    batch = questions_batch(images=images, **options)
    number = torch.arange(images)
    groups = {ROLE: number % 3, GROUP: number // 3}
    return batch | {SAVED_MAP: batch["importance"], ANSWER: torch.full((images,), YES)} | groups


def built(cls, **options):
    if cls is objectives.ActDiff:
        # The toy model names no layers, and models that pool boxes do not see their order.
        return cls(layers=("logits",), replace=negative_ones, **options)
    if cls is objectives.ContrastiveSOrT:  # the toy model has no layer "fusion"
        return cls(InputXGradient(), **options)
    keeps_channels = cls is objectives.GradMask
    return cls(**options) if keeps_channels or not issubclass(cls, AttributionObjective) else cls(Gradient(), **options)


@pytest.fixture(autouse=True)
def fixed_draws(monkeypatch):
    """The random views keep the same places in every Forward, so that two steps can be compared."""

    def places(self, forward, space):
        chosen = torch.rand(1, 9, *space, generator=torch.Generator().manual_seed(3))[:, :1] > 0.4
        important = forward.of_images(forward.importance("importance", space)) > 0.5
        return (
            (chosen | important[None])
            if isinstance(self, ImportantOrRandom)
            else chosen.expand(1, len(important), *space)
        )

    for keep in (RandomKeep, ImportantOrRandom):
        monkeypatch.setattr(keep, "__call__", places)
    monkeypatch.setattr(
        "hf_guidance.views.important.drawn_share", lambda shares, count: torch.full((count,), shares[-1])
    )


def value_of(objective, name, batch):
    return objective(explain(region_model(name), region_family(name), batch, objective))


@pytest.mark.parametrize(("cls", "options"), variants())
@pytest.mark.parametrize("name", ["toy", "updn", "pythia", "san", "lxmert"])
def test_one_finite_number_a_row_with_gradients(cls, options, name):
    batch = region_batch(images=4, padding=name != "toy")
    model, objective = region_model(name), built(cls, **options)
    if cls is objectives.AdversarialAnswerLoss and name != "toy":  # these have no adversary
        with pytest.raises(ValueError, match=r"puts out no 'question_logits'.*question_adversary_size=64"):
            value_of(objective, name, batch)
        return
    value = value_of(objective, name, batch)
    assert value.shape == (4,)
    assert torch.isfinite(value).all()
    if cls is objectives.ComparisonSCR and options:
        assert not value.any()  # zero in the released code, by its softmax over one entry
        return
    gradients = parameter_gradients(value.sum(), model)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    # a hinge may be satisfied in every row of one batch, never in many
    for seed in range(1, 6):
        if max(gradient.abs().max().item() for gradient in gradients) > 1e-9:
            break
        again = value_of(objective, name, region_batch(images=4, padding=name != "toy", seed=seed))
        gradients = parameter_gradients(again.sum(), model)
    assert max(gradient.abs().max().item() for gradient in gradients) > 1e-9


@pytest.mark.parametrize(("cls", "options"), variants())
@pytest.mark.parametrize("case", ["none important", "all important", "one row"])
def test_odd_batches_are_finite(cls, options, case):
    batch = region_batch(images=1 if case == "one row" else 3)
    if case != "one row":
        for column in ("importance", SAVED_MAP):
            batch[column] = torch.full_like(batch[column], float(case == "all important"))
    objective = built(cls, **options)
    forward = explain(region_model("toy"), region_family("toy"), batch, objective)
    value, rows = objective(forward), objective.rows(forward)
    assert torch.isfinite(value).all()
    gradients = parameter_gradients(value.sum() + 0 * forward.logits().sum(), region_model("toy"))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    if case == "none important" and cls in WITH_THRESHOLD and objective.threshold is not None and not options:
        assert not rows.any()


@pytest.mark.parametrize(("cls", "options"), variants())
def test_permuted_rows_give_permuted_losses(cls, options):
    batch, order = region_batch(images=3), torch.tensor([2, 0, 1])
    objective = built(cls, **options)
    value = value_of(objective, "toy", batch).detach()
    again = value_of(objective, "toy", {name: column[order] for name, column in batch.items()})
    assert relative_error(again, value[order]) < 1e-9


@pytest.mark.parametrize("cls", GUIDED)
def test_rows_without_annotation_weigh_nothing(cls):
    batch = region_batch(images=3) | {"annotated": [True, False, True]}
    other = batch | {column: batch[column].clone() for column in ("importance", SAVED_MAP)}
    for column in ("importance", SAVED_MAP):
        other[column][1] = 1 - other[column][1]
    guidance = Guidance(task=objectives.AnswerLoss(), guided=Term(built(cls), 0.5))
    totals = []
    for columns in (batch, other):
        forward = explain(
            region_model("toy"), region_family("toy"), columns, *(term.objective for term in guidance.values())
        )
        totals.append(guidance(forward)[0])
    assert torch.equal(*totals)


@pytest.mark.parametrize(("cls", "options"), variants())
def test_rows_may_be_fewer_than_images(cls, options):
    """The trainer drops rows without annotation; what is left has the numbers it had."""
    batch = region_batch(images=3)
    objective = built(cls, **options)
    if issubclass(cls, (objectives.AnswerLoss, *OF_GROUPS)) or objective == objectives.InfluenceSCR(
        Gradient(), variant="official"
    ):
        return  # one number an image; one a group, which is dropped with any of its rows; a mean over the batch
    whole = value_of(objective, "toy", batch)
    rows = [0, 2]
    fewer = batch | {"row": rows, "slot": [0, 0], "annotated": [True, True]}
    fewer |= {name: batch[name][rows] for name in ("importance", "target", SAVED_MAP, ANSWER)}
    part = value_of(objective, "toy", fewer)
    if cls is objectives.ComparisonSCR and options:
        return
    assert relative_error(part, whole[rows]) < 1e-9


@pytest.mark.parametrize("cls", WITH_THRESHOLD)
@pytest.mark.parametrize("threshold", [-0.1, 1.5, "0.5", float("nan")])
def test_thresholds_outside_are_refused(cls, threshold):
    with pytest.raises(ValueError, match=rf"{cls.__name__}\(threshold=.*outside \[0, 1\].*0.85 for CLEVR-XAI"):
        cls(threshold=threshold)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("field", ["variant", "distance", "form"])
def test_unknown_choices_are_refused(cls, field):
    if any(f.name == field for f in fields(cls)):
        with pytest.raises(ValueError, match=rf"{cls.__name__}\({field}='other'\) is unknown; choose one of \["):
            cls(**{field: "other"})
