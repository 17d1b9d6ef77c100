"""The front on disk after real training runs, whole and resumed."""

from __future__ import annotations

import json

import numpy as np
import optuna
import pytest
from transformers import AutoImageProcessor, AutoModelForImageClassification, TrainerCallback

from hf_guidance import Grounding, Guidance, ParetoCheckpoints, Term, load_representative
from hf_guidance.attributions import GradCAM
from hf_guidance.evaluation.analysis import pareto_indices
from hf_guidance.objectives import Energy

NAMES = ("eval_f1", "eval_epg", "eval_attribution_iou")
GUIDANCE = Guidance(energy=Term(Energy(GradCAM()), weight=0.5))


def recorded(folder):
    return json.loads((folder / "pareto.json").read_text())


def test_a_training_run_keeps_its_front(trainer_of, model_of, digits, tmp_path):
    def make(**settings):
        return trainer_of(
            model_of(), GUIDANCE, rows=digits["train"], num_train_epochs=6, eval_strategy="epoch", learning_rate=5e-2,
            save_strategy="epoch", **settings,
            trainer={
                "grounding": Grounding(GradCAM(), metrics=("epg", "attribution_iou")),
                "compute_metrics": lambda output: {"f1": float((output.predictions.argmax(-1) == output.label_ids).mean())},
                "callbacks": [ParetoCheckpoints(guidance=GUIDANCE)],
            },
        )  # fmt: skip

    trainer = make()
    trainer.train()
    folder = tmp_path / "out" / "pareto"
    record = recorded(folder)
    logged = [entry for entry in trainer.state.log_history if "eval_epg" in entry]
    assert [[point[name] for name in NAMES] for point in record["points"]] == [
        [e[name] for name in NAMES] for e in logged
    ]
    points = np.array([[entry[name] for name in NAMES] for entry in logged])
    assert record["members"] == [logged[index]["step"] for index in pareto_indices(points)]
    assert 0 < len(record["members"]) < 6
    best = load_representative(folder, points[:, 0].max(), drop=1)
    entry = max((entry for entry in logged if entry["step"] in record["members"]), key=lambda entry: entry["eval_epg"])
    assert best == folder / f"step-{entry['step']}"
    assert Guidance.load(best) == GUIDANCE
    assert AutoImageProcessor.from_pretrained(best).size["height"] == 32
    trainer.model.load_state_dict(AutoModelForImageClassification.from_pretrained(best).state_dict())
    found = trainer.evaluate()
    assert [found[name] for name in NAMES] == pytest.approx([entry[name] for name in NAMES], abs=1e-6)
    resumed = make()
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-18"))  # after the third of six epochs
    assert recorded(folder) == record
    assert sorted(path.name for path in folder.glob("step-*")) == sorted(f"step-{step}" for step in record["members"])


class StopAfter(TrainerCallback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.epoch >= self.epochs


def test_an_interrupted_run_ends_as_the_whole_run(trainer_of, model_of, digits, tmp_path):
    """Resumed from the checkpoint of epoch 2, with the front as it was then."""

    def run(out, epochs, resume=None):
        trainer = trainer_of(
            model_of(), GUIDANCE, num_train_epochs=4, eval_strategy="epoch", save_strategy="epoch", learning_rate=5e-2,
            output_dir=str(tmp_path / out),
            trainer={"callbacks": [ParetoCheckpoints(("eval_epg",), bins=None), StopAfter(epochs)]},
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=resume)
        return recorded(tmp_path / out / "pareto")

    whole = run("whole", 4)
    half = run("half", 2)
    assert half["points"] == whole["points"][:2]
    assert run("half", 4, str(tmp_path / "half" / "checkpoint-12")) == whole
    assert len(whole["members"]) == 1
    weights = [
        next((tmp_path / out / "pareto").glob("step-*/model.safetensors")).read_bytes() for out in ("whole", "half")
    ]
    assert weights[0] == weights[1]


def test_without_evaluations_there_is_no_front(trainer_of, model_of):
    trainer = trainer_of(model_of(), Guidance(), eval_strategy="no", trainer={"callbacks": [ParetoCheckpoints()]})
    with pytest.raises(ValueError, match=r"eval_strategy='no' measures no model.*choose 'epoch'"):
        trainer.train()


def test_every_trial_of_a_search_keeps_a_front(trainer_of, model_of, digits, tmp_path):
    trainer = trainer_of(
        model_of(), GUIDANCE, rows=digits["train"], num_train_epochs=2, eval_strategy="epoch",
        trainer={"callbacks": [ParetoCheckpoints(("eval_epg",))], "grounding": Grounding(GradCAM())},
    )  # fmt: skip
    trainer.model_init = lambda trial=None: model_of()
    trainer.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": trial.suggest_categorical("learning_rate", [0.1, 1e-3])},
        sampler=optuna.samplers.GridSampler({"learning_rate": [0.1, 1e-3]}, seed=0), n_trials=2, backend="optuna",
    )  # fmt: skip
    first, second = (recorded(tmp_path / "out" / f"pareto-{number}") for number in range(2))
    assert first["points"] != second["points"]
    assert all(load_representative(tmp_path / "out" / f"pareto-{n}", 0, keep="eval_epg").is_dir() for n in range(2))
    assert not (tmp_path / "out" / "pareto").exists()
