"""Folders of runs as trainers leave them, written by hand: a log, facts, panels, fronts."""

from __future__ import annotations

import json

from PIL import Image

ENERGY = {
    "task": {"type": "Term", "objective": {"type": "TaskLoss"}},
    "energy": {
        "type": "Term",
        "objective": {"type": "Energy", "attribution": {"type": "GradCAM"}},
        "weight": 2.0,
        "reduction": "rows",
    },
}
TASK = {"task": ENERGY["task"]}


def facts_of(guidance=ENERGY, seed=0, **more):
    known = {
        "guidance": guidance, "model": "ResNetForImageClassification", "seed": seed, "rows": 1000, "annotated_share": 0.1,
        "source": "boxes", "control_seed": None, "box_dilation": 0.0, "learning_rate": 1e-3, "epochs": 3, "batch_size": 64,
        "load_best_model_at_end": False,
    }  # fmt: skip
    return known | more


def log_of(accuracy, epg, steps=(10, 20), terms=("task", "energy")):
    entries = []
    for step in steps:
        losses = {f"loss/{term}": 1.0 / step for term in terms}
        shares = {f"undefined_share/{term}": 0.05 for term in terms if term != "task"}
        entries.append({"loss": 0.5, "step": step, "epoch": step / 10, **losses, **shares})
        late = step == steps[-1]
        measured = {"eval_accuracy": accuracy if late else 0.5, "eval_epg": epg if late else 0.2, "eval_loss": 0.4}
        measured["eval_epg_undefined_share"] = 0.25
        entries.append({**measured, "eval_runtime": 3.0, "eval_samples_per_second": 9.0, "step": step})
    return entries


def state_of(history, facts=None, **more):
    callbacks = {"TrainerControl": {"args": {}, "attributes": {}}}
    if facts is not None:
        callbacks["RunFacts"] = {"args": {}, "attributes": {"facts": facts}}
    steps = [entry.get("step", 0) for entry in history]
    return {"global_step": max(steps, default=0), "log_history": history, "stateful_callbacks": callbacks} | more


def write_run(folder, accuracy=0.8, epg=0.6, facts=None, history=None, **more):
    """A run with its state in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    terms = tuple(facts["guidance"]) if facts else ("task", "energy")
    history = log_of(accuracy, epg, terms=terms) if history is None else history
    (folder / "trainer_state.json").write_text(json.dumps(state_of(history, facts, **more)))
    return folder


def write_arms(folder, seeds=(0, 1, 2)):
    """Three arms with three seeds each."""
    for seed in seeds:
        shift = 0.01 * seed
        write_run(folder / f"unguided-{seed}", 0.60 + shift, 0.30 + shift, facts_of(TASK, seed))
        write_run(folder / f"guided-{seed}", 0.80 + shift, 0.70 + 2 * shift, facts_of(ENERGY, seed))
        write_run(folder / f"random-{seed}", 0.70 + shift, 0.32 - shift, facts_of(ENERGY, seed, control_seed=seed))
    return folder


def write_panels(folder, steps=(0, 20), colour="red"):
    place = folder / "panels"
    place.mkdir(parents=True, exist_ok=True)
    for step in steps:
        Image.new("RGB", (40, 20), colour).save(place / f"step-{step:06d}.png")


def write_front(folder, points=((0.8, 0.5), (0.7, 0.6), (0.6, 0.4))):
    place = folder / "pareto"
    place.mkdir(parents=True, exist_ok=True)
    metrics = ["eval_accuracy", "eval_epg"]
    listed = [{"step": 10 * i, "epoch": i, **dict(zip(metrics, point, strict=True))} for i, point in enumerate(points)]
    (place / "pareto.json").write_text(
        json.dumps({"metrics": metrics, "bins": 0.005, "points": listed, "members": [0, 10]})
    )
