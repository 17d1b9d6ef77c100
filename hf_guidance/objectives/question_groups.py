"""Which explained rows of a batch are the questions of one group, and their vectors compared by the cosine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_guidance.data.columns import ANNOTATED, GROUP, NO_GROUP, ROLE
from hf_guidance.forward import Forward

_NAMES = ("reasoning questions", "sub-questions", "irrelevant questions")


def roles_and_groups(forward: Forward) -> list[tuple[int, int]]:
    """Role and group of every explained row.

    Raises:
        ValueError: A column is missing, or has not one entry per explained row; or a role is none of the three.
    """
    columns = []
    for name in (ROLE, GROUP):
        column = forward.column(name)
        if len(column) != len(forward.row):
            raise ValueError(
                f"column {name!r} has {len(column)} entries, the batch {len(forward.row)} explained rows; give one for each, "
                "as QuestionTripleCollator does."
            )
        columns.append([int(entry) for entry in column])
    if unknown := set(columns[0]) - set(range(len(_NAMES))):
        raise ValueError(
            f"column {ROLE!r} holds {min(unknown)}; allowed: 0 (reasoning question), 1 (sub-question), 2 (irrelevant question)."
        )
    return list(zip(*columns, strict=True))


def group_rows(forward: Forward, roles: Sequence[int]) -> list[Tensor]:
    """For each role the explained rows with it, (groups,) int64, of the groups with an annotated row of every role.

    Args:
        forward: The step.
        roles: Roles that a group must have; other rows of a group are not looked at.

    Raises:
        ValueError: As ``roles_and_groups``, or a group has two annotated rows of one role.
    """
    annotated = forward.batch.get(ANNOTATED, [True] * len(forward.row))
    groups: dict[int, dict[int, int]] = {}
    for row, (role, group) in enumerate(roles_and_groups(forward)):
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
