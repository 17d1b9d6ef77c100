"""docs/models.md from the records of the judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import timm
import transformers

from every_model.judge import CRASHED, LAYERS, REFUSED, RIGHT, WRONG

_UNIT = {"transformers": "model type", "timm": "timm module"}
_LONGEST = 240
Record = Mapping[str, Any]


def kinds(records: Sequence[Record], source: str) -> dict[str, list[Record]]:
    """Model type or timm module -> its records."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record["source"] == source:
            found.setdefault(record["kind"], []).append(record)
    return found


def verdict(records: Sequence[Record], layer: str) -> str | None:
    """The verdict on a kind at a layer: the worst of its models; None if a model could not be made."""
    if any(record["not_built"] for record in records):
        return None
    given = {record["layers"][layer]["verdict"] for record in records}
    return next(worst for worst in (WRONG, CRASHED, REFUSED, RIGHT) if worst in given)


def counts(records: Sequence[Record], source: str) -> dict[str, dict[str, int]]:
    """Layer -> verdict -> number of kinds; kinds whose model could not be made are left out."""
    by_kind = kinds(records, source).values()
    return {
        layer: {word: sum(verdict(rs, layer) == word for rs in by_kind) for word in (RIGHT, REFUSED, WRONG, CRASHED)}
        for layer in LAYERS
    }


def page(records: Sequence[Record]) -> str:
    """The whole page."""
    parts = [
        "# Which models work\n\n"
        f"Made by `make models` with transformers {transformers.__version__} and timm {timm.__version__}; do not edit.\n\n"
        "Every type that transformers offers for image classification, and the smallest model of every module of timm, with "
        "random weights, cut down where it is large. A layer *works* if its activation lies where the image lies (a region of "
        "the image is disturbed, and the change is looked for), the gradient there is not zero, and one training step with a "
        "term on it gives finite losses and gradients. *refused* is a `ValueError` that says why. *path* is a module in the "
        "middle of the net, chosen by a rule; another path of the same model may do better.\n\n"
        "A model that is refused can still be used with a family by hand: `GuidedTrainer(family=Family(...))`.\n"
    ]
    for source, unit in _UNIT.items():
        parts += [f"\n## {source}\n\n", _count_lines(records, source, unit), "\n", _lines(records, source, unit)]
    return "".join(parts)


def _count_lines(records: Sequence[Record], source: str, unit: str) -> str:
    by_kind = kinds(records, source)
    not_made = [kind for kind, rs in by_kind.items() if any(record["not_built"] for record in rs)]
    rows = [f"| {unit}s | works | refused | WRONG | crashed |\n|---|---|---|---|---|\n"]
    for layer, numbers in counts(records, source).items():
        rows.append(f"| {layer} | " + " | ".join(map(str, numbers.values())) + " |\n")
    total = f"\n{len(by_kind)} {unit}s"
    return "".join(rows) + total + (f", of which not made here: {', '.join(not_made)}.\n" if not_made else ".\n")


def _lines(records: Sequence[Record], source: str, unit: str) -> str:
    rows = [f"| {unit} | model | input | final | path | |\n|---|---|---|---|---|---|\n"]
    for kind, rs in kinds(records, source).items():
        for record in rs:
            cells = [_cell(record, layer) for layer in LAYERS]
            rows.append(f"| {kind} | {record['name']} | {' | '.join(cells)} | {_summary(record)} |\n")
    return "".join(rows)


def _cell(record: Record, layer: str) -> str:
    if record["not_built"]:
        return "-"
    word = record["layers"][layer]["verdict"]
    shown = "yes" if word == RIGHT else word
    return f"{shown} `{record['path']}`" if layer == "path" else shown


def _summary(record: Record) -> str:
    if record["not_built"]:
        return _plain(f"not made here: {record['not_built']}")
    right = [layer for layer in LAYERS if record["layers"][layer]["verdict"] == RIGHT]
    if len(right) == len(LAYERS):
        return "works"
    reasons: dict[str, list[str]] = {}
    for layer in LAYERS:
        found = record["layers"][layer]
        if found["verdict"] != RIGHT:
            reasons.setdefault(f"{found['verdict']}: {found['why']}", []).append(layer)
    told = "; ".join(_plain(f"{_at(layers)}{reason}") for reason, layers in reasons.items())
    return f"works at {' and '.join(right)}; {told}" if right else told


def _at(layers: Sequence[str]) -> str:
    return "" if len(layers) == len(LAYERS) else f"{' and '.join(layers)} "


def _plain(text: str) -> str:
    text = text.replace("|", "/").replace("<", "&lt;").replace("\n", " ")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
