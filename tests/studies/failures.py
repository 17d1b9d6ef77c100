"""How guidance fails: on the cards, from the same weights as the study, with settings that are too strong."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from studies.cards import COLUMNS, GUIDED, SIZE, TO_CONVERGENCE, UNGUIDED
from studies.common import Results, Stage, load_voc, measure, start_weights, train

ARMS = {
    "unguided": UNGUIDED,
    "guided": GUIDED,
    "rate 1e-3": replace(GUIDED, learning_rate=1e-3),
    "weight 10": replace(GUIDED, weight=10.0),
    "frozen, 10": replace(GUIDED, weight=10.0, frozen_batch_norm=True),
}
SCRATCH = replace(TO_CONVERGENCE, weight=0.3)


def known(output: Path, arm: str, stage: Stage, seed: int) -> Mapping[str, Any] | None:
    """What the study of the cards measured with the same settings, where it was run before."""
    file = output / "cards.json"
    found = json.loads(file.read_text()) if file.is_file() else {"settings": {}}
    if found["settings"].get(arm) != asdict(stage):
        return None
    return next((run for run in found["runs"].get(arm, []) if run["seed"] == seed), None)


def run(data: Path, output: Path, seeds: int) -> None:
    task = load_voc("cards", data / "cards_voc", SIZE)
    results = Results("failures", output, {**ARMS, "scratch guided": SCRATCH})
    for seed in range(seeds):
        start = start_weights(task, TO_CONVERGENCE, seed, output)
        results.add("start", seed, measure(train(task, replace(UNGUIDED, epochs=0), seed, start), task))
        for arm, stage in ARMS.items():
            scores = known(output, arm, stage, seed) or measure(train(task, stage, seed, start), task)
            results.add(arm, seed, scores)
        results.add("scratch guided", seed, measure(train(task, SCRATCH, seed), task))
    for arm in (*list(ARMS)[1:], "scratch guided"):
        other = "start" if arm == "scratch guided" else "unguided"
        results.report(f"{arm}: EPG over {other}", ("epg", arm, other))
        results.report(f"{arm}: mAP over {other}", ("map", arm, other))
    results.show(COLUMNS)
