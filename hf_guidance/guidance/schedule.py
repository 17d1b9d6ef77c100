"""The terms that count at one optimizer step: weights that change in training, and guidance at every k-th step only."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hf_guidance.guidance.guidance import Guidance
from hf_guidance.guidance.term import Term


def guidance_of_step(guidance: Guidance, every: int, step: int, steps: int) -> Guidance:
    """The terms that count at one optimizer step, with the weights of that step.

    A term with a `WeightSchedule` has ``weight * factor(step / steps)``. With k = ``every``, the terms beside the task have k
    times that at the steps 0, k, 2k, ..., and are left out at the others. On fixed weights, and batches drawn alike, the
    mean gradient over steps is that of terms at every step:

        (1/k) [grad(task + k w L) + (k - 1) grad(task)] = grad(task + w L)

    Its variance is larger: the part that comes of the terms is up to k times that of every step.

    Args:
        guidance: The terms.
        every: k, at least 1.
        step: Number of optimizer steps taken before this one, so that a resumed run goes on where it stood, all micro-batches
            of a step are alike, and so are all processes.
        steps: Number of optimizer steps of the whole training; 0 where there is none, and weights are whole.

    Returns:
        ``guidance`` itself where nothing changes; else one of the same class with other weights, without the terms that have
        none at this step, or with the task alone.
    """
    if every == 1 and not (steps and any(term.schedule for term in guidance.values())):
        return guidance
    progress = step / steps if steps else None
    terms = {name: _at(term, progress, 1 if name == "task" else every) for name, term in guidance.items()}
    guided = not step % every
    counts = {name for name, term in terms.items() if guided and (term.weight or not guidance[name].weight)}
    return guidance.with_terms({name: term for name, term in terms.items() if name == "task" or name in counts})


def weight_name(name: str) -> str:
    """The log entry of a scheduled weight."""
    return f"weight/{name}"


def scheduled_weights(guidance: Guidance, device: torch.device) -> dict[str, Tensor]:
    """Log entries of the weights that change, as they are at one step."""
    changing = {name: term for name, term in guidance.items() if term.schedule is not None}
    return {weight_name(name): torch.full((), float(term.weight), device=device) for name, term in changing.items()}


def _at(term: Term, progress: float | None, times: int) -> Term:
    factor = 1.0 if term.schedule is None or progress is None else term.schedule.factor(progress)
    return replace(term, weight=times * factor * term.weight)
