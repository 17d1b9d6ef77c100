"""Where the time of a guided step goes: time by operation, plain against guided at the input, from torch.profiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from setting import Setting
from torch.profiler import ProfilerActivity, profile

Step = Callable[[], None]
STEPS = 3
SHOWN = 6


def time_by_operation(step: Step, device: str) -> Counter[str]:
    """Milliseconds a step that each operation spends itself, without the operations it calls."""
    step()
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    with profile(activities=activities) as recorded:
        for _ in range(STEPS):
            step()
    field = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    return Counter({event.key: getattr(event, field) / 1e3 / STEPS for event in recorded.key_averages()})


def operation_rows(setting: Setting) -> list[dict[str, Any]]:
    """The operations that guidance adds most to, and the sum of all others."""
    plain = time_by_operation(setting.plain, setting.device)
    guided = time_by_operation(lambda: setting.guided("input"), setting.device)
    added = sorted({*plain, *guided}, key=lambda name: plain[name] - guided[name])
    rows = [{"operation": name, "plain": plain[name], "guided": guided[name]} for name in added[:SHOWN]]
    rest = {"plain": sum(plain[name] for name in added[SHOWN:]), "guided": sum(guided[name] for name in added[SHOWN:])}
    return [{"model": setting.name, **row} for row in (*rows, {"operation": "all others", **rest})]


def operation_table(rows: list[dict[str, Any]]) -> str:
    """The rows as text: milliseconds, and the ratio where there is one."""
    lines = [f"{'ms a step, by operation':42s}{'plain':>9s}{'guided at input':>17s}{'ratio':>8s}"]
    for row in rows:
        ratio = f"{row['guided'] / row['plain']:8.2f}" if row["plain"] > 0.05 else f"{'new':>8s}"
        lines.append(f"{row['model'] + ' ' + row['operation']:42.42s}{row['plain']:9.1f}{row['guided']:17.1f}{ratio}")
    return "\n".join(lines)
