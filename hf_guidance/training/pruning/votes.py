"""Which channels stay: answers about patches, counted as votes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

from hf_guidance.evaluation.patches import Patch, PatchTable
from hf_guidance.evaluation.patches.table import SHOWN

VOTES: Mapping[str | None, int] = {"yes": 1, "no": -1, "maybe": 0, None: 0}
"""What an answer counts."""
Answers = Mapping[Patch, str | None] | Iterable[tuple[Patch, str | None]]


def neuron_votes(
    table: PatchTable, answers: Answers, *, shown: int = SHOWN, neurons: Collection[int] | None = None
) -> Tensor:
    """Decide by yes/no answers which channels stay (CRAYON, paper, section IV-B; released code for ties).

    Channel k stays if the sum of votes over its first patches is not negative: +1 for "yes", -1 for "no", 0 for "maybe" and
    for patches without answer. The paper's majority leaves ties open; in the released code, and here, ties stay, and so do
    channels without answers. A patch is answered once for all channels that have it. Where one answer is given several times
    for a patch it counts once.

    Args:
        table: The patches.
        answers: Patch to "yes", "no", "maybe" or None, or such pairs.
        shown: Patches per channel that count.
        neurons: Channels whose votes count, all others stay, as ``sampled_neurons`` draws them; None for all.

    Returns:
        (channels,) bool, True for channels that stay.

    Raises:
        ValueError: An unknown answer, a patch that no channel has, two different answers for one patch, or a channel that does
            not exist.

    Example:
        >>> keep = neuron_votes(table, {Patch(12, 3, 4): "no", Patch(80, 0, 6): "yes"})
    """
    known = table.unique(shown)
    given = _once(answers, known)
    total = torch.zeros(table.channels, dtype=torch.long)
    for patch, answer in given.items():
        total[known[patch]] += VOTES[answer]
    keep = total >= 0
    if neurons is None:
        return keep
    if wrong := [index for index in neurons if not 0 <= index < table.channels]:
        raise ValueError(f"neurons names {wrong[:8]}, but there are {table.channels} channels; give indices from 0.")
    asked = torch.zeros(table.channels, dtype=torch.bool)
    asked[list(neurons)] = True
    return keep | ~asked


def sampled_neurons(channels: int, count: int, seed: int) -> list[int]:
    """Draw the channels whose answers count, for studies of how many answers are needed (CRAYON, paper, section IV-F).

    Args:
        channels: Number of channels.
        count: How many are drawn, without repetition.
        seed: The same seed draws the same; of two counts, the smaller draw is part of the larger.

    Returns:
        Indices in increasing order.

    Raises:
        ValueError: ``count`` is not between 0 and ``channels``.
    """
    if not 0 <= count <= channels:
        raise ValueError(f"count={count!r}: give a number of channels from 0 to {channels}.")
    order = torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
    return sorted(order[:count].tolist())


def _once(answers: Answers, known: Collection[Patch]) -> dict[Patch, str | None]:
    found: dict[Patch, str | None] = {}
    for place, answer in answers.items() if isinstance(answers, Mapping) else answers:
        patch = Patch(*place)
        if answer not in VOTES:
            raise ValueError(f"{patch} has the answer {answer!r}; give one of {list(VOTES)}.")
        if patch not in known:
            raise ValueError(
                f"{patch} is answered, but is not among the patches that are shown for a channel. Are these answers for "
                "another model or data set?"
            )
        if found.setdefault(patch, answer) != answer:
            raise ValueError(
                f"{patch} is answered {found[patch]!r} and {answer!r}; settle the answers of several people by an agreement "
                "rule first, and give one for each patch."
            )
    return found
