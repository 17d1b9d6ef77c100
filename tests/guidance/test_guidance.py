import pytest
import torch
from tiny import explain, make_batch, parameter_gradients, relative_error, tiny_family, tiny_model

from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.forward import ExplainedRows, Forward
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import L1, Energy, RightReasons, TaskLoss

MODEL, FAMILY = "resnet", "resnet"


def step(guidance, batch):
    return guidance(Forward(tiny_model(MODEL), tiny_family(FAMILY), batch, guidance.needs()))


def test_the_task_is_a_term():
    guidance = Guidance(energy=Energy())
    assert list(guidance) == ["task", "energy"]
    assert guidance["task"] == Term(TaskLoss())
    assert list(guidance.on_attributions) == ["energy"]
    assert guidance.needs(annotated=False) == TaskLoss().needs()
    assert Guidance(task=Term(TaskLoss(0.1), 2.0))["task"].weight == 2.0


@pytest.mark.parametrize(("reduction", "divisor"), [("batch", 4), ("rows", 2), ("sum", 1)])
def test_reductions(reduction, divisor):
    batch = make_batch(images=4) | {"annotated": [True, False, False, True]}
    objective = Energy(InputXGradient("mid1"))
    losses = objective(explain(tiny_model(MODEL), tiny_family(FAMILY), batch, objective)).detach()
    total, logs = step(Guidance(energy=Term(objective, weight=0.3, reduction=reduction)), batch)
    expected = (losses[0] + losses[3]) / divisor
    assert torch.allclose(logs["loss/energy"], expected)
    assert torch.allclose(total.detach(), logs["loss/task"] + 0.3 * expected)


def test_batch_reduction_is_exact_under_accumulation():
    """Two half batches, averaged, give the gradient of the whole: the annotated rows lie unevenly."""
    batch = make_batch(images=4) | {"annotated": [True, True, True, False]}
    guidance = Guidance(energy=Energy(GradCAM()), l1=Term(L1(InputXGradient("mid1")), 0.5))
    whole = parameter_gradients(step(guidance, batch)[0], tiny_model(MODEL))
    halves = [ExplainedRows().take_images(batch, images) for images in ([0, 1], [2, 3])]
    parts = [parameter_gradients(step(guidance, half)[0], tiny_model(MODEL)) for half in halves]
    for full, first, second in zip(whole, *parts, strict=True):
        assert relative_error((first + second) / 2, full) < 1e-10


def test_annotated_and_rest_in_forwards_of_their_own():
    """Without train-mode BatchNorm the cut changes neither loss nor gradient."""
    model, family = tiny_model(MODEL), tiny_family(FAMILY)
    batch = make_batch(images=4) | {"annotated": [False, True, False, True]}
    guidance = Guidance(energy=Energy(GradCAM()), rrr=Term(RightReasons(InputXGradient("mid2")), 0.1))
    together, logs = step(guidance, batch)
    annotated = Forward(model, family, ExplainedRows().take_images(batch, [1, 3]), guidance.needs())
    rest = Forward(model, family, ExplainedRows().take_images(batch, [0, 2]), guidance.needs(annotated=False))
    apart, logs_apart = guidance(annotated, rest)
    assert torch.allclose(together, apart)
    assert all(torch.allclose(logs[name], logs_apart[name]) for name in logs)
    for one, other in zip(parameter_gradients(together, model), parameter_gradients(apart, model), strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    dropped, _ = step(guidance, ExplainedRows().annotated_only(batch))
    assert torch.allclose(dropped, together)


def test_several_rows_an_image():
    """The divisor of "batch" is the number of images, of "rows" that of annotated rows."""
    rows = {"row": [0, 0, 1], "slot": [0, 1, 0], "target": torch.tensor([0, 1, 2]), "annotated": [True, True, False]}
    batch = make_batch(images=2)
    batch |= rows | {"importance": batch["importance"][[0, 0, 1]]}
    objective = Energy(InputXGradient("mid1"))
    losses = objective(explain(tiny_model(MODEL), tiny_family(FAMILY), batch, objective)).detach()
    for reduction, divisor in (("batch", 2), ("rows", 2), ("sum", 1)):
        _, logs = step(Guidance(energy=Term(objective, reduction=reduction)), batch)
        assert torch.allclose(logs["loss/energy"], (losses[0] + losses[1]) / divisor)


def test_undefined_share_counts_annotated_maps_without_a_positive_entry():
    batch = make_batch(images=4) | {"annotated": [True, True, False, True]}
    forward = explain(tiny_model(MODEL), tiny_family(FAMILY), batch, GradCAM())
    guidance = Guidance(energy=Energy(GradCAM()))
    maps = forward.attribution(GradCAM()).detach()
    expected = sum(not bool(maps[row].any()) for row in (0, 1, 3)) / 3
    assert guidance(forward)[1]["undefined_share/energy"].item() == pytest.approx(expected)
    dead = dict(batch)
    forward = explain(tiny_model(MODEL), tiny_family(FAMILY), dead, GradCAM())
    forward._memo[GradCAM()] = torch.zeros_like(maps)
    assert guidance(forward)[1]["undefined_share/energy"].item() == 1


def test_logs_hold_no_graph_and_rest_alone_counts_for_the_task():
    batch = make_batch()
    guidance = Guidance(energy=Energy())
    _, logs = step(guidance, batch)
    assert set(logs) == {"loss/task", "loss/energy", "undefined_share/energy"}
    assert not any(value.requires_grad for value in logs.values())
    rest = Forward(tiny_model(MODEL), tiny_family(FAMILY), batch, guidance.needs(annotated=False))
    total, logs = guidance(None, rest)
    assert set(logs) == {"loss/task", "loss/energy"}
    assert torch.equal(total.detach(), logs["loss/task"])


def test_a_term_of_weight_zero_changes_no_gradient():
    batch = make_batch()
    plain = parameter_gradients(step(Guidance(), batch)[0], tiny_model(MODEL))
    zero = parameter_gradients(step(Guidance(energy=Term(Energy(GradCAM()), 0.0)), batch)[0], tiny_model(MODEL))
    assert all(torch.allclose(a, b, atol=1e-14) for a, b in zip(plain, zero, strict=True))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Term(GradCAM()), r"objective=GradCAM.*Energy\(GradCAM\(\)\)"),
        (lambda: Term(Energy(), weight=-1), "weight=-1.*>= 0"),
        (lambda: Term(Energy(), weight=float("nan")), "weight=nan"),
        (lambda: Term(Energy(), reduction="mean"), r"reduction='mean'.*'batch', 'rows', 'sum'"),
        (lambda: Guidance({"a/b": Energy()}), "'a/b'.*slash"),
        (lambda: Guidance({"": Energy()}), "name ''"),
        (lambda: Guidance(cam=GradCAM()), "'?cam'?.*give an Objective"),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(("reduction", "logged"), [("batch", True), ("sum", True), ("rows", False)])
def test_without_annotation_only_a_mean_over_rows_is_not_logged(reduction, logged):
    guidance = Guidance(energy=Term(Energy(), reduction=reduction))
    rest = Forward(tiny_model(MODEL), tiny_family(FAMILY), make_batch(), guidance.needs(annotated=False))
    _, logs = guidance(None, rest)
    assert ("loss/energy" in logs) is logged


def test_smoothed_multi_hot_labels_are_refused():
    batch = make_batch() | {"labels": torch.eye(3)}
    with pytest.raises(ValueError, match=r"label_smoothing=0.1 with multi-hot labels.*label_smoothing_factor=0"):
        step(Guidance(task=TaskLoss(0.1)), batch)
