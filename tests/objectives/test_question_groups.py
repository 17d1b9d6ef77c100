"""ContrastiveSOrT, AttentionSQuINT and RoleAnswerLoss: groups, zero vectors, and what each reads."""

import pytest
import torch
from tiny import explain, parameter_gradients, relative_error
from torch import nn
from toy_vqa import fresh_region_model, region_batch, region_family, region_model

from hf_guidance.attributions import AttentionWeights, InputXGradient
from hf_guidance.forward import Forward, Needs
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import AnswerLoss, AttentionSQuINT, ContrastiveSOrT, RoleAnswerLoss
from hf_guidance.objectives.question_groups import cosine

LAYER = "classifier.1"  # of UpDn: hidden features behind the fusion, one vector per question
VECTORS = InputXGradient(LAYER)


def triples(count, **options):
    """Questions in triples, triple by triple, on one image each."""
    batch = region_batch(images=3 * count, **options)
    for name in ("visual_feats", "visual_pos", "visual_attention_mask"):
        if name in batch:
            batch[name] = batch[name][::3].repeat_interleave(3, 0)
    groups = [group for group in range(count) for _ in range(3)]
    return batch | {"role": [0, 1, 2] * count, "group": groups, "annotated": [True] * (3 * count)}


def step(objective, batch, name="updn"):
    return explain(region_model(name), region_family(name), batch, objective)


def by_hand(vectors):
    """Equation 2 in loops."""
    found = []
    for r, s, i in vectors.unflatten(0, (-1, 3)):
        cos = [torch.dot(r, other) / (torch.dot(r, r) * torch.dot(other, other)).sqrt() for other in (s, i)]
        found.append((cos[1] - cos[0]).clamp_min(0))
    return torch.stack(found)


def test_equation_2_in_loops():
    batch = triples(6)
    objective = ContrastiveSOrT(VECTORS)
    forward = step(objective, batch)
    ours, theirs = objective(forward)[::3], by_hand(forward.attribution(VECTORS))
    assert ours.count_nonzero() not in (0, 6)
    assert relative_error(ours, theirs) < 1e-12
    model = region_model("updn")
    pairs = zip(parameter_gradients(ours.sum(), model), parameter_gradients(theirs.sum(), model), strict=True)
    assert all(torch.allclose(one, other, atol=1e-12) for one, other in pairs)


def test_vectors_are_those_of_three_calls():
    """One call and one backward for all questions: the vectors of each kind alone."""
    batch = triples(4)
    together = step(VECTORS, batch).attribution(VECTORS)
    for role in range(3):
        rows = list(range(role, 12, 3))
        alone = {name: value[rows] if isinstance(value, torch.Tensor) else [value[r] for r in rows]
                 for name, value in batch.items()}  # fmt: skip
        assert relative_error(step(VECTORS, alone).attribution(VECTORS), together[rows].detach()) < 1e-12


def test_squint_by_hand():
    batch = triples(3, padding=True)
    objective = AttentionSQuINT()
    forward = step(objective, batch)
    attention = forward.attribution(AttentionWeights())
    real = batch["visual_attention_mask"]
    expected = [
        ((attention[3 * g] - attention[3 * g + 1]) ** 2).sum() / real[3 * g].sum() for g in range(3)
    ]  # padding has no attention
    assert relative_error(objective(forward)[::3], torch.stack(expected)) < 1e-12
    assert objective.rows(forward).tolist() == [1, 0, 0] * 3
    gradients = parameter_gradients(objective(forward).sum(), region_model("updn"))
    assert max(gradient.abs().max() for gradient in gradients) > 1e-9


@pytest.mark.parametrize("cls", [ContrastiveSOrT, AttentionSQuINT])
def test_any_order_of_the_questions(cls):
    batch = triples(4)
    objective = cls(VECTORS) if cls is ContrastiveSOrT else cls()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0)).tolist()
    mixed = {name: value[order] if isinstance(value, torch.Tensor) else [value[r] for r in order]
             for name, value in batch.items()}  # fmt: skip
    assert relative_error(objective(step(objective, mixed)), objective(step(objective, batch))[order].detach()) < 1e-12


def test_groups_that_lack_a_question_do_not_count():
    batch = triples(3)
    batch["group"] = [0, 0, -1, 1, 1, 1, -1, -1, -1]
    contrastive, pairs = ContrastiveSOrT(VECTORS), ContrastiveSOrT(VECTORS, irrelevant=False)
    forward = step(contrastive, batch)
    assert contrastive.rows(forward).tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert pairs.rows(forward).tolist() == AttentionSQuINT().rows(forward).tolist() == [1, 0, 0, 1, 0, 0, 0, 0, 0]
    part_annotated = batch | {"annotated": [True] * 3 + [True, False, True] + [True] * 3}
    assert contrastive.rows(step(contrastive, part_annotated)).tolist() == [0] * 9
    whole, part = contrastive(forward), contrastive(step(contrastive, triples(3)))
    assert relative_error(whole[3], part[3].detach()) < 1e-12


def test_no_group_at_all_is_no_error():
    batch = triples(2) | {"group": [-1] * 6}
    for objective in (ContrastiveSOrT(VECTORS), ContrastiveSOrT(VECTORS, hinge="batch"), AttentionSQuINT()):
        value = objective(step(objective, batch))
        assert value.tolist() == [0] * 6
        assert all(torch.isfinite(g).all() for g in parameter_gradients(value.sum(), region_model("updn")))


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-170, 1e170])
@pytest.mark.parametrize("zero", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("options", [{}, {"irrelevant": False}, {"hinge": "batch"}])
def test_vectors_of_zeros(options, zero, scale):
    """Where all are zero the loss is 0; the gradient is finite wherever some are, and of any size."""
    vectors = torch.randn(3, 4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    vectors[list(zero)] *= scale
    vectors.requires_grad_()
    used = 2 if options.get("irrelevant") is False else 3
    values = ContrastiveSOrT.loss(*vectors[:used], hinge=options.get("hinge", "triple"))
    (gradient,) = torch.autograd.grad(values.sum(), vectors)
    assert torch.isfinite(values).all()
    assert torch.isfinite(gradient).all()
    if scale == 0 and len(zero) == 3:
        assert not values.any()
        assert not gradient.any()
    if used == 2 and scale == 0 and zero != (2,):
        assert not values.any()


def test_a_model_whose_vectors_are_all_zero():
    """As of a head of zeros, with which a fine-tuning may begin."""
    model = fresh_region_model("updn")
    torch.nn.init.zeros_(model.classifier[3].scale)
    for objective in (ContrastiveSOrT(VECTORS), ContrastiveSOrT(VECTORS, irrelevant=False)):
        forward = Forward(model, region_family("updn"), triples(2), objective.needs())
        value = objective(forward)
        assert not forward.attribution(VECTORS).any()
        assert not value.any()
        assert all(torch.isfinite(gradient).all() for gradient in parameter_gradients(value.sum(), model))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_cosine_does_not_change_with_scale(dtype):
    first, second = torch.randn(2, 5, 9, dtype=dtype, generator=torch.Generator().manual_seed(2))
    plain = nn.functional.cosine_similarity(first, second)
    for scale in (1e-15, 1.0, 1e18):
        assert torch.allclose(cosine(first * scale, second / scale)[0], plain, rtol=1e-5)


def test_the_cosine_is_twice_differentiable():
    vectors = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: cosine(v[0], v[1])[0], vectors)
    assert torch.autograd.gradgradcheck(lambda v: cosine(v[0], v[1])[0], vectors)


def test_the_hinge_of_a_batch():
    """Summands, whose mean is the hinge of the mean; 0 for all where triples in order make up for the others."""
    r = torch.tensor([[1.0, 0.0]] * 3, dtype=torch.float64)
    s = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    i = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert ContrastiveSOrT.loss(r, s, i).tolist() == [1, 1, 0]
    assert ContrastiveSOrT.loss(r, s, i, hinge="batch").tolist() == [1, 1, -1]
    assert ContrastiveSOrT.loss(r[1:], s[1:], i[1:], hinge="batch").tolist() == [0, 0]


def test_weights_of_roles():
    batch = triples(2) | {"group": [0, 0, 0, -1, 1, 1]}
    plain, task = AnswerLoss("sigmoid"), RoleAnswerLoss(role_weights=(2.0, 3.0, 0.5))
    forward = step(task, batch)
    assert torch.allclose(task(forward), plain(forward) * torch.tensor([2.0, 3.0, 0.5, 5.5, 3.0, 0.5]))
    other = RoleAnswerLoss(role_weights=(2.0, 3.0, 0.5), alone=0.0)
    assert other(forward)[3] == 0
    explained = {"target": batch["target"][:3], "row": [0, 1, 2], "slot": [0] * 3, "annotated": [True] * 3}
    assert torch.equal(task(step(task, batch | explained)), task(forward))  # by the role, explained or not


def test_a_question_without_answers_does_not_count():
    batch = triples(2) | {"answered": [True, False, True, True, True, False]}
    task = RoleAnswerLoss(role_weights=(2.0, 3.0, 0.5))
    forward = step(task, batch)
    assert task.rows(forward).tolist() == [1, 0, 1, 1, 1, 0]
    expected = AnswerLoss("sigmoid")(forward) * torch.tensor([2.0, 0.0, 0.5, 2.0, 3.0, 0.0])
    assert torch.allclose(task(forward), expected)
    whole, _ = Guidance(task=task)(forward)
    assert torch.allclose(whole, expected.sum() / 6)


def test_questions_are_compared_as_the_column_says():
    """And are learned as what they are."""
    batch = triples(3)
    contrastive, squint, task = (
        ContrastiveSOrT(VECTORS),
        AttentionSQuINT(),
        RoleAnswerLoss(role_weights=(2.0, 3.0, 0.5)),
    )
    swapped = batch | {"compared_as": [0, 2, 1, 0, 1, 2, 0, 2, 1]}
    vectors = step(contrastive, batch).attribution(VECTORS)
    order = [0, 2, 1, 3, 4, 5, 6, 8, 7]
    assert relative_error(contrastive(step(contrastive, swapped))[::3], by_hand(vectors[order]).detach()) < 1e-12
    attention = step(AttentionWeights(), batch).attribution(AttentionWeights())
    expected = (attention[[0, 3, 6]] - attention[[2, 4, 8]]).square().mean(1)
    assert relative_error(squint(step(squint, swapped))[::3], expected.detach()) < 1e-12
    assert torch.equal(task(step(task, swapped)), task(step(task, batch)))


def test_rows_without_annotation_may_be_dropped():
    """Role and group are those of all questions, explained or not."""
    batch = triples(3)
    contrastive = ContrastiveSOrT(VECTORS)
    whole = contrastive(step(contrastive, batch))
    kept = [0, 1, 2, 3, 5, 6, 7, 8]  # the sub-question of the second group has no label
    dropped = batch | {"row": kept, "slot": [0] * 8, "target": batch["target"][kept], "annotated": [True] * 8}
    forward = step(contrastive, dropped)
    assert contrastive.rows(forward).tolist() == [1, 0, 0, 0, 0, 1, 0, 0]
    assert relative_error(contrastive(forward)[[0, 5]], whole[[0, 6]].detach()) < 1e-12


def test_a_guided_step_counts_questions_without_partner_in_the_task_only():
    batch = triples(3) | {"group": [0, 0, 0] + [-1] * 3 + [1] * 3}
    guidance = Guidance(task=RoleAnswerLoss(), sort=Term(ContrastiveSOrT(VECTORS), 2.0))
    forward = Forward(region_model("updn"), region_family("updn"), batch, guidance.needs())
    value, logs = guidance(forward)
    task, sort = RoleAnswerLoss()(forward).sum() / 9, ContrastiveSOrT(VECTORS)(forward)[[0, 6]].sum() / 9
    assert torch.allclose(value, task + 2 * sort)
    assert torch.allclose(logs["loss/sort"], sort)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"role": [0, 1, 1], "group": [0, 0, 0]},
            r"group 0 of the batch has two sub-questions, explained rows 1 and 2",
        ),
        ({"role": [0, 0, 1], "group": [4, 4, 4]}, r"group 4 of the batch has two reasoning questions"),
        ({"role": [0, 1], "group": [0, 0]}, r"column 'role' has 2 entries, the batch 3 questions; give one for each"),
        ({"role": [0, 1, 2]}, r"no column 'group'"),
        ({"role": [0, 1, -1], "group": [0, 0, 0]}, r"column 'role' holds -1; allowed: 0 \(reasoning question\), 1"),
    ],
)
def test_bad_columns_are_refused(columns, message):
    batch = {name: value for name, value in triples(1).items() if name not in ("role", "group")} | columns
    objective = ContrastiveSOrT(VECTORS)
    with pytest.raises(ValueError, match=message):
        objective(step(objective, batch))
    if "role" in columns and -1 in columns["role"]:
        with pytest.raises(ValueError, match=message):
            RoleAnswerLoss()(step(RoleAnswerLoss(), batch))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ContrastiveSOrT("fusion"), r"ContrastiveSOrT\(attribution='fusion'\) is not an attribution; give"),
        (lambda: ContrastiveSOrT(hinge="mean"), r"hinge='mean'\) is unknown; choose one of \['triple', 'batch'\]"),
        (lambda: AttentionSQuINT("attention"), r"AttentionSQuINT\(attribution='attention'\) is not an attribution"),
        (lambda: RoleAnswerLoss(role_weights=(1, 2)), r"role_weights=\(1, 2\)\): give three finite numbers >= 0"),
        (lambda: RoleAnswerLoss(role_weights=(0, 0, 0)), r"not all 0"),
        (lambda: RoleAnswerLoss(role_weights=(1, 1, float("nan"))), r"three finite numbers"),
        (lambda: RoleAnswerLoss(alone=-1.0), r"alone=-1\.0\): give a finite number >= 0, or None"),
    ],
)
def test_bad_fields_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_needs_are_those_of_the_attribution():
    assert ContrastiveSOrT(VECTORS).needs() == VECTORS.needs()
    assert AttentionSQuINT().needs() == AttentionWeights().needs()
    assert isinstance(ContrastiveSOrT().needs(), Needs)
