"""Judge every model of timm and transformers: `make models` writes docs/models.md.

Records are written model by model, so that a run that was cut off goes on with --resume. With names of model types, timm
modules or timm models, only these are judged and printed.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from every_model import timm_models, transformers_models
from every_model.judge import LAYERS, judge
from every_model.table import counts, page

ROOT = Path(__file__).resolve().parents[2]


def chosen(names: list[str]) -> list:
    """The candidates of these names, all if there are none."""
    everything = [*transformers_models.candidates(), *timm_models.candidates()]
    if not names:
        return everything
    found = [c for c in everything if {c.kind, c.name} & set(names)]
    known = {name for c in found for name in (c.kind, c.name)}
    return found + [timm_models.candidate(name) for name in names if name not in known]


def told(record: dict) -> str:
    """One line for the terminal."""
    if record["not_built"]:
        return f"{record['key']}: not made: {record['not_built']}"
    verdicts = " ".join(f"{layer}={record['layers'][layer]['verdict']}" for layer in LAYERS)
    return f"{record['key']}: {verdicts} ({record['seconds']} s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--records", type=Path, default=ROOT / "runs" / "models.jsonl")
    parser.add_argument("--resume", action="store_true", help="keep the records that are there")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "models.md")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    for line in timm_models.missing():
        print(f"this timm has a module that {timm_models.TABLE.name} lacks; add the line: {line}")
    if given.names:
        for candidate in chosen(given.names):
            print(json.dumps(judge(candidate), indent=1), flush=True)
        return
    given.records.parent.mkdir(parents=True, exist_ok=True)
    if not given.resume:
        given.records.unlink(missing_ok=True)
    lines = given.records.read_text().splitlines() if given.records.exists() else []
    records = {record["key"]: record for record in map(json.loads, lines)}
    candidates = chosen([])
    for candidate in candidates:
        if candidate.key not in records:
            records[candidate.key] = judge(candidate)
            with given.records.open("a") as file:
                file.write(json.dumps(records[candidate.key]) + "\n")
            print(told(records[candidate.key]), flush=True)
    ordered = [records[candidate.key] for candidate in candidates]
    given.page.write_text(page(ordered))
    for source in ("transformers", "timm"):
        print(source, json.dumps(counts(ordered, source)))


if __name__ == "__main__":
    main()
