"""The rows beside the table by layers, and how the benchmark prints."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import torch
from setting import CLASSES, Setting

PAIRS_PER_IMAGE = 2


def unannotated_row(setting: Setting, alternate: Callable[..., Any], ratio: Callable[..., Any]) -> Any:
    """A batch in which no image has human importance."""
    steps = {"plain": setting.plain, "guided": lambda: setting.guided("input", annotated=False)}
    seconds = alternate(steps, share=0.8)
    fastest = min(seconds["guided"]) / min(seconds["plain"])
    return {
        "model": setting.name, "row": "no annotated row", "ratio": ratio(seconds, "guided"), "fastest_ratio": fastest
    }  # fmt: skip


def by_image_row(setting: Setting, alternate: Callable[..., Any], ratio: Callable[..., Any]) -> Any:
    """One autograd call an image instead of one a batch, at the input."""
    steps = {"plain": setting.plain, "by image": lambda: setting.guided_by_image("input")}
    seconds = alternate(steps, share=0.1)
    return {
        "model": setting.name, "row": "one autograd call an image, input", "ratio": ratio(seconds, "by image")
    }  # fmt: skip


def evaluation_row(setting: Setting, alternate: Callable[..., Any]) -> Any:
    """Maps of all (image, class) pairs: backwards and seconds a batch, against one backward a pair."""
    pairs = [(i, (i + 3 * k) % CLASSES) for i in range(len(setting.images)) for k in range(PAIRS_PER_IMAGE)]
    steps = {
        "slots": lambda: setting.evaluate_slots("input", pairs),
        "pairs": lambda: setting.evaluate_pairs("input", pairs),
    }
    counts = {name: backwards_of(step) for name, step in steps.items()}
    seconds = {name: statistics.median(values) for name, values in alternate(steps, share=0.1).items()}
    return {
        "model": setting.name, "row": f"evaluation of {len(pairs)} pairs, input", "backwards": counts["slots"],
        "backwards_by_pair": counts["pairs"], "seconds": seconds["slots"], "seconds_by_pair": seconds["pairs"],
    }  # fmt: skip


def backwards_of(step: Callable[[], None]) -> int:
    """How often a step calls autograd.grad."""
    with patch.object(torch.autograd, "grad", wraps=torch.autograd.grad) as grad:
        step()
    return grad.call_count


def table(rows: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> str:
    """All results as text."""
    lines = [
        f"{'model':14s} {'layer':7s} {'guided/plain':>12s} {'of fastest':>10s} {'peak memory':>11s}  autograd's own"
    ]
    for row in rows:
        own = (
            f" {row['autograd_ratio']:.2f}, memory {row['autograd_peak_memory_ratio']:.2f}"
            if "autograd_ratio" in row
            else ""
        )
        numbers = f"{row['ratio']:12.2f} {row['fastest_ratio']:10.2f} {row['peak_memory_ratio']:11.2f} {own}"
        lines.append(f"{row['model']:14s} {row['layer']:7s} {numbers}")
    lines.append("")
    for row in others:
        if "backwards" in row:
            said = (
                f"{row['backwards']} backwards, {row['seconds']:.2f} s; "
                f"one a pair: {row['backwards_by_pair']} backwards, {row['seconds_by_pair']:.2f} s"
            )
        else:
            fastest = f" (of fastest {row['fastest_ratio']:.2f})" if "fastest_ratio" in row else ""
            said = f"{row['ratio']:.2f} plain steps{fastest}"
        lines.append(f"{row['model']:14s} {row['row']:36s} {said}")
    return "\n".join(lines)
