"""Numbers of a page as text: a value with its interval, a difference, and what they say."""

from __future__ import annotations

from hf_guidance.apps.report.arms import Arm
from hf_guidance.evaluation.analysis.seed_interval import SeedInterval


def cell_of(arm: Arm, name: str, level: float) -> dict[str, str]:
    """The mean of a metric with half its interval: "text", "more" (of how many runs) and "class".

    Runs where the metric was measured and is no number (NaN, infinity) do not enter the mean; their number is said.
    """
    found, undefined = arm.interval(name, level), arm.undefined(name)
    if found is None:
        text = "not a number" if undefined else "not measured"
        return {"text": text, "more": _of_runs(undefined) if undefined else "", "class": "none"}
    more = _of_runs(found.seeds) + _besides(undefined)
    if found.half_width is None:
        return {"text": f"{found.mean:.3f}", "more": more, "class": ""}
    return {"text": f"{found.mean:.3f} ± {found.half_width:.3f}", "more": more, "class": ""}


def _of_runs(count: int) -> str:
    return "one run" if count == 1 else f"{count} runs"


def _besides(undefined: int) -> str:
    return f", not a number in {undefined} more" if undefined else ""


def change_of(arm: Arm, other: Arm, name: str, level: float) -> dict[str, str]:
    """How much larger a metric is in an arm than in another, and whether the interval is without 0: as ``cell_of``."""
    found, undefined = arm.difference(other, name, level), arm.undefined(name) + other.undefined(name)
    if found is None:
        return {"text": "not a number" if undefined else "not measured", "more": "", "class": "none"}
    if found.low is None or found.high is None:
        return {"text": f"{found.mean:+.3f}", "more": f"too few runs for an interval{_besides(undefined)}", "class": ""}
    clear = found.low > 0 or found.high < 0
    how = "by seed" if found.paired else "unpaired"
    return {
        "text": f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]",
        "more": f"{how}, {'without 0' if clear else 'holds 0'}{_besides(undefined)}",
        "class": "clear" if clear else "open",
    }


def ends_of(found: SeedInterval) -> tuple[float, float] | None:
    """Both ends of an interval; None where there is none."""
    return None if found.low is None or found.high is None else (found.low, found.high)
