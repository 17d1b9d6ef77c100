"""SOrT against numbers of the released code and of the paper's equations: vectors, losses and their gradients."""

import numpy as np
import pytest
import torch
from torch import nn

from hf_guidance import recipes
from hf_guidance.attributions import InputXGradient
from hf_guidance.data.columns import IRRELEVANT, REASONING, SUB_QUESTION
from hf_guidance.families import RegionFamily
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import AttentionSQuINT, ContrastiveSOrT, RoleAnswerLoss
from hf_guidance.objectives.question_groups import cosine

FILE = "crayon_sort/sort_contrastive_gradient"
CASES = range(4)
FAMILY = RegionFamily(layers={"fusion": "fusion"}, inputs=("visual_feats",), places=None)
ROLES = {"r": REASONING, "s": SUB_QUESTION, "i": IRRELEVANT}


class Classifier(nn.Module):
    """The joint embedding, given as the features of one box, and the classifier of two branches behind it."""

    def __init__(self, get):
        super().__init__()
        self.fusion = nn.Identity()
        self.p = nn.ParameterDict({name: nn.Parameter(get(f"p_{name}")) for name in NAMES})

    def forward(self, visual_feats):
        joint = self.fusion(visual_feats[:, 0])
        parts = []
        for branch in ("text", "image"):
            g, v, bias = (self.p[f"f_o_{branch}_layers_0_{part}"] for part in ("weight_g", "weight_v", "bias"))
            hidden = nn.functional.linear(joint, g * v / v.norm(), bias).relu()
            parts.append(
                nn.functional.linear(hidden, self.p[f"linear_{branch}_weight"], self.p[f"linear_{branch}_bias"])
            )
        return {"logits": parts[0] + parts[1]}


NAMES = [
    *(f"f_o_{branch}_layers_0_{part}" for branch in ("text", "image") for part in ("bias", "weight_g", "weight_v")),
    *(f"linear_{branch}_{part}" for branch in ("text", "image") for part in ("weight", "bias")),
]


def setting(golden, case):
    """Of a case: its arrays, the model, the leaf of the joint embeddings and the batch of its triples, triple by triple."""
    data = golden(FILE)
    get = lambda name: torch.from_numpy(data[f"c{case}__{name}"].copy())  # noqa: E731
    joint = torch.stack([get(f"J_{role}") for role in ROLES], 1).requires_grad_()
    triples = len(joint)
    batch = {
        "visual_feats": joint.flatten(0, 1)[:, None],
        "target": torch.stack([get(f"gt_{role}") for role in ROLES], 1).flatten(),
        "labels": torch.stack([get(f"T_{role}") for role in ROLES], 1).flatten(0, 1),
        "role": list(ROLES.values()) * triples,
        "group": [group for group in range(triples) for _ in ROLES],
    }
    return get, Classifier(get), joint, batch


def forward_of(model, batch, guidance):
    return Forward(model, FAMILY, batch, guidance.needs())


def compare_gradients(agree, get, value, model, joint, kind):
    names, parameters = zip(*model.p.items(), strict=True)
    found = torch.autograd.grad(value, [joint, *parameters], allow_unused=True, materialize_grads=True)
    pairs = {f"J_{role}": found[0][:, place] for place, role in enumerate(ROLES)} | dict(
        zip(names, found[1:], strict=True)
    )
    for name, ours in pairs.items():
        theirs = get(f"g_{kind}_{name}")
        if theirs.shape != ours.shape:  # a single 0 stands for no gradient
            assert not theirs.any()
            theirs = torch.zeros_like(ours)
        if not theirs.any():
            assert not ours.any(), name
            continue
        agree(f"{FILE} (gradient)", ours, theirs)


@pytest.mark.parametrize("case", CASES)
def test_vectors_scores_and_distances(golden, agree, case):
    get, model, _, batch = setting(golden, case)
    forward = forward_of(model, batch, Guidance(sort=ContrastiveSOrT()))
    vectors = forward.attribution(InputXGradient("fusion")).unflatten(0, (-1, 3))
    for place, role in enumerate(ROLES):
        agree(f"{FILE} (vector)", vectors[:, place], get(f"G_{role}"))
        agree(f"{FILE} (vector)", forward.logits().unflatten(0, (-1, 3))[:, place], get(f"scores_{role}"))
    agree(f"{FILE} (value)", 1 - cosine(vectors[:, 0], vectors[:, 1])[0], get("dist_rs"))
    agree(f"{FILE} (value)", 1 - cosine(vectors[:, 0], vectors[:, 2])[0], get("dist_ri"))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("objective", "array", "kind"),
    [
        (ContrastiveSOrT(), "paper_cg_per_sample", "papercg"),
        (ContrastiveSOrT(irrelevant=False), "paper_sq_only_per_sample", None),
        (ContrastiveSOrT(irrelevant=False, times_answers=True), "code_released_sq_only", None),
        (ContrastiveSOrT(hinge="batch", times_answers=True), "code_hinge_of_batch_means", "hinge"),
    ],
)
def test_losses_on_vectors(golden, agree, case, objective, array, kind):
    get, model, joint, batch = setting(golden, case)
    forward = forward_of(model, batch, Guidance(sort=objective))
    values, theirs = objective(forward).unflatten(0, (-1, 3)), get(array)
    assert not values[:, 1:].any()
    assert torch.equal(objective.rows(forward).unflatten(0, (-1, 3)), torch.tensor([1.0, 0, 0]).expand(len(values), 3))
    if theirs.dim():
        agree(f"{FILE} (value)", values[:, 0], theirs)
    else:
        agree(f"{FILE} (value)", values[:, 0].mean(), theirs)
    if kind:
        compare_gradients(agree, get, values[:, 0].mean(), model, joint, kind)


@pytest.mark.parametrize("case", CASES)
def test_squares_of_vectors(golden, agree, case):
    """A loss that the released code offers and does not use: AttentionSQuINT on vectors, times the number of answers."""
    get, model, _, batch = setting(golden, case)
    objective = AttentionSQuINT(InputXGradient("fusion"))
    forward = forward_of(model, batch, Guidance(sort=objective))
    value = objective(forward)[::3].mean() * forward.logits().shape[-1]
    agree(f"{FILE} (value)", value, get("code_mse"))


@pytest.mark.parametrize("case", CASES)
def test_whole_losses(golden, agree, case):
    """Of the recipes: the paper's equation 3, and the released code, whose hinge only its history has."""
    get, model, joint, batch = setting(golden, case)
    for guidance, array, kind in (
        (recipes.sort(), "paper_total", "papertotal"),
        (recipes.sort_only_sub_questions("official", questions=3), "code_total_released", None),
    ):
        value, logs = guidance(forward_of(model, batch, guidance))
        agree(f"{FILE} (value)", value, get(array))
        if kind:
            compare_gradients(agree, get, value, model, joint, kind)
    distances = ContrastiveSOrT(irrelevant=False, times_answers=True)
    term = Guidance(task=Term(RoleAnswerLoss(), 0.0), sort=Term(distances, reduction="rows"))
    compare_gradients(agree, get, term(forward_of(model, batch, term))[0], model, joint, "released")
    agree(f"{FILE} (value)", logs["loss/sort"] * 3, get("code_released_sq_only"))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("role", "weights"), [("r", (1, 0, 0)), ("s", (0, 1, 0)), ("i", (0, 0, 1))])
def test_answers_by_role(golden, agree, case, role, weights):
    get, model, _, batch = setting(golden, case)
    task = RoleAnswerLoss(role_weights=weights)
    values = task(forward_of(model, batch, Guidance(task=task)))
    agree(f"{FILE} (value)", values.sum() / (len(values) / 3), get(f"bce_{role}"))


@pytest.mark.parametrize("case", range(3))
def test_binary_cross_entropy(golden, agree, case):
    file = "crayon_sort/sort_bce_multilabel"
    data = golden(file)
    scores, targets = (torch.from_numpy(data[f"c{case}__{name}"].copy()) for name in ("scores", "targets"))
    scores.requires_grad_()
    value = RoleAnswerLoss.loss(scores, targets, form="sigmoid").mean()
    agree(f"{file} (value)", value, data[f"c{case}__loss"])
    agree(f"{file} (gradient)", torch.autograd.grad(value, scores)[0], data[f"c{case}__grad"])


@pytest.mark.parametrize("case", range(2))
def test_the_cosine_where_the_code_has_a_defect(golden, agree, case):
    """Rows whose maximum is positive (0, 4), negative (1, of both 2), and exactly zero (3), where the code has NaN."""
    file = "crayon_sort/sort_cosine_distance_edge"
    data = golden(file)
    a, b = (torch.from_numpy(data[f"c{case}__{name}"].copy()).requires_grad_() for name in "ab")
    found, defined = cosine(a, b)
    assert defined.all()
    agree(f"{file} (value)", 1 - found, data[f"c{case}__plain_cosine_distance"])
    code = data[f"c{case}__code_distance"]
    assert np.isnan(code[3])
    agree(f"{file} (value)", (1 - found)[[0, 2, 4]], code[[0, 2, 4]])
    assert abs(code[1] - (1 - found[1]).item()) > 0.1
    gradients = torch.autograd.grad(found.sum(), [a, b])
    plain = torch.autograd.grad(nn.functional.cosine_similarity(a, b).sum(), [a, b])
    for ours, theirs in zip(gradients, plain, strict=True):
        agree(f"{file} (gradient)", ours, theirs.numpy())
