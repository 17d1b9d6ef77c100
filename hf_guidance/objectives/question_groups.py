"""Which explained rows of a batch are the questions of one group, and their vectors compared by the cosine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hf_guidance.data.columns import ANNOTATED, COMPARED_AS, GROUP, NO_GROUP, ROLE
from hf_guidance.forward import Forward

_NAMES = ("reasoning questions", "sub-questions", "irrelevant questions")


def of_questions(forward: Forward, name: str) -> list[Any]:
    """A column with one entry per question, explained or not.

    Raises:
        ValueError: The column is missing, or has not one entry per question.
    """
    column = forward.column(name)
    if len(column) != forward.images:
        raise ValueError(
            f"column {name!r} has {len(column)} entries, the batch {forward.images} questions; give one for each, explained or "
            "not, as QuestionTripleCollator does."
        )
    return list(column)


def roles_and_groups(forward: Forward, role: str = ROLE) -> list[tuple[int, int]]:
    """Role and group of every question, explained or not.

    Args:
        forward: The step.
        role: The column of roles: what a question is, or as what it is compared.

    Raises:
        ValueError: A column is missing, or has not one entry per question; or a role is none of the three.
    """
    roles, groups = ([int(entry) for entry in of_questions(forward, name)] for name in (role, GROUP))
    if unknown := set(roles) - set(range(len(_NAMES))):
        raise ValueError(
            f"column {role!r} holds {min(unknown)}; allowed: 0 (reasoning question), 1 (sub-question), 2 (irrelevant question)."
        )
    return list(zip(roles, groups, strict=True))


def group_rows(forward: Forward, roles: Sequence[int]) -> list[Tensor]:
    """For each role the explained rows with it, (groups,) int64, of the groups with an annotated row of every role.

    The role is that of the column "compared_as", or of "role" where the batch has no such column.

    Args:
        forward: The step.
        roles: Roles that a group must have; other rows of a group are not looked at.

    Raises:
        ValueError: As ``roles_and_groups``, or a group has two annotated rows of one role.
    """
    annotated = forward.batch.get(ANNOTATED, [True] * len(forward.row))
    groups: dict[int, dict[int, int]] = {}
    questions = roles_and_groups(forward, COMPARED_AS if COMPARED_AS in forward.batch else ROLE)
    for row, image in enumerate(forward.row):
        role, group = questions[image]
        if group == NO_GROUP or role not in roles or not annotated[row]:
            continue
        held = groups.setdefault(group, {})
        if role in held:
            raise ValueError(
                f"group {group} of the batch has two {_NAMES[role]}, explained rows {held[role]} and {row}; give every pair "
                "of questions that is compared a group of its own."
            )
        held[role] = row
    whole = [held for held in groups.values() if len(held) == len(roles)]
    device = forward.column(forward.family.features).device
    return [torch.tensor([held[role] for held in whole], dtype=torch.long, device=device) for role in roles]


def lacking(irrelevant: bool) -> str:
    """What rows lack where no group is whole, and what to do.

    Args:
        irrelevant: Whether a group needs an irrelevant question.
    """
    if irrelevant:
        return (
            "no row had a sub-question and an irrelevant question, all three questions with an answer of the vocabulary. Fill "
            "the columns 'sub_question', 'sub_answers', 'irrelevant_question' and 'irrelevant_answers', or train without "
            "irrelevant questions: recipes.sort_only_sub_questions(), ContrastiveSOrT(irrelevant=False)."
        )
    return (
        "no row had a sub-question, both questions with an answer of the vocabulary. Fill the columns 'sub_question' and "
        "'sub_answers', and make the vocabulary of the answers to both."
    )


def at_rows(forward: Forward, rows: Tensor, values: Tensor) -> Tensor:
    """Values (groups,) at their explained rows, 0 at the others: (rows,)."""
    return values.new_zeros(len(forward.row)).index_copy(0, rows, values)


def cosine(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """``a.b / (|a| |b|)`` of vectors (n, features), and whether it is defined, (n,) each.

    Each vector is divided by its largest magnitude, a constant, so that squares neither overflow nor vanish; the cosine and
    its gradient do not change by it. A vector of zeros, or of numbers whose squares are none any more, has the cosine 0 and
    no gradient.
    """
    (one, own), (other, theirs) = _scaled(first), _scaled(second)
    defined = own & theirs
    squares = one.square().sum(1) * other.square().sum(1)
    return torch.where(defined, (one * other).sum(1) * torch.where(defined, squares, 1).rsqrt(), 0), defined


def _scaled(vectors: Tensor) -> tuple[Tensor, Tensor]:
    largest = vectors.detach().abs().amax(1, keepdim=True)
    defined = largest > torch.finfo(vectors.dtype).tiny ** 0.5
    return vectors / torch.where(defined, largest, 1), defined[:, 0]
