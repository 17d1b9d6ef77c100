"""Guidance at every k-th step only: the terms of one step, with weights that keep the expected gradient."""

from __future__ import annotations

from dataclasses import replace

from hf_guidance.guidance.guidance import Guidance


def guidance_of_step(guidance: Guidance, step: int, every: int) -> Guidance:
    """The terms that count at one optimizer step.

    With k = ``every``, the terms beside the task have k times their weight at the steps 0, k, 2k, ..., and are left out at the
    others. On fixed weights, and batches drawn alike, the mean gradient over steps is that of terms at every step:

        (1/k) [grad(task + k w L) + (k - 1) grad(task)] = grad(task + w L)

    Its variance is larger: the part that comes of the terms is up to k times that of every step.

    Args:
        guidance: The terms.
        step: Number of optimizer steps taken before this one, so that a resumed run goes on where it stood, all micro-batches
            of a step are alike, and so are all processes.
        every: k, at least 1.

    Returns:
        ``guidance`` itself where k is 1; else one of the same class with other weights, or with the task alone.
    """
    if every == 1:
        return guidance
    task = {"task": guidance["task"]}
    scaled = {name: replace(term, weight=every * term.weight) for name, term in guidance.guided.items()}
    return guidance.with_terms(task if step % every else {**guidance, **scaled})
