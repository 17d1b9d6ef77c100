"""panels.json: which rows the panels of a run show, and the losses of each panel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hf_guidance.common.whole_file import whole_file

RECORD = "panels.json"


def file_of(step: int) -> str:
    """The name of the picture of a step."""
    return f"step-{step:06d}.png"


class PanelRecord:
    """The record of a folder of panels, written whole after each picture.

    Args:
        folder: ``<output_dir>/panels``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content: dict[str, Any] = {"panels": []}

    def begin(self, shown: dict[str, Any], step: int) -> list[str]:
        """Begin or go on: panels of later steps, which are drawn again, are removed.

        Args:
            shown: What identifies the panels: origin, rows and attribution.
            step: The step from which the run goes on; 0 removes all panels.

        Returns:
            The names in ``shown`` that are not as in the panels that stay.
        """
        found = self._read() if step else {}
        kept = [panel for panel in found.get("panels", ()) if panel["step"] <= step]
        names = {file_of(panel["step"]) for panel in kept}
        for picture in self.folder.glob("step-*.png"):
            if picture.name not in names:
                picture.unlink()
        for left in self.folder.glob(".draft-*"):  # of a process that was killed
            left.unlink(missing_ok=True)
        self.content = {**shown, "panels": kept}
        if kept:
            self._write()  # at once: a process that is killed before its next panel must not lose those that stay
        else:
            (self.folder / RECORD).unlink(missing_ok=True)
        return [name for name in shown if kept and found.get(name) != shown[name]]

    def has(self, step: int) -> bool:
        """Whether the panel of a step is there."""
        return (
            any(panel["step"] == step for panel in self.content["panels"]) and (self.folder / file_of(step)).is_file()
        )

    def add(self, step: int, losses: dict[str, float], dead: int) -> None:
        """Add a panel whose picture is written."""
        others = [panel for panel in self.content["panels"] if panel["step"] != step]
        self.content["panels"] = [*others, {"step": step, "losses": losses, "dead": dead}]
        self._write()

    def _write(self) -> None:
        with whole_file(self.folder / RECORD) as draft:
            draft.write_text(json.dumps(self.content, indent=1) + "\n")

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / RECORD).read_text())
            steps = [panel["step"] for panel in found["panels"]]
            if odd := [step for step in steps if isinstance(step, bool) or not isinstance(step, int)]:
                raise ValueError(f"the step {odd[0]!r} is no whole number")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{self.folder / RECORD} cannot be read ({error!r}); remove the folder {self.folder}, and panels begin anew."
            ) from error
        return found if steps else {}
