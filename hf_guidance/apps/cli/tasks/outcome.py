"""What a training gives back: what was measured before and after, and where the model is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMINGS = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time", "epoch")
"""What ``Trainer.evaluate`` reports beside metrics."""


@dataclass(frozen=True)
class Outcome:
    """Metrics before and after a training.

    Attributes:
        measured: Name of a metric to its values before and after; None where it is not defined.
        output_dir: Folder of the model.
        files: What the folder holds, for people.
    """

    measured: Mapping[str, tuple[float | None, float | None]]
    output_dir: str
    files: str

    def table(self) -> str:
        """The metrics as lines for people."""
        lines = [f"{'':34s}{'before':>10s}{'after':>10s}"]
        for name, values in self.measured.items():
            numbers = "".join(f"{'-' if value is None else f'{value:.4f}':>10s}" for value in values)
            lines.append(f"{name:34s}{numbers}")
        return "\n".join([*lines, f"{self.files}: {self.output_dir}"])

    def plain(self) -> dict[str, Any]:
        """The same for JSON."""
        metrics = {name: {"before": before, "after": after} for name, (before, after) in self.measured.items()}
        return {"output_dir": self.output_dir, "metrics": metrics}
