"""hyperparameter_search with a guidance that is a function of the trial: weights, layers, attributions, whole terms."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import FixedTrial
from transformers import TrainerCallback
from transformers.trainer_utils import HPSearchBackend

from hf_guidance import Grounding, Guidance, GuidanceCollator, ParetoCheckpoints, Term
from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.objectives import L1, Energy
from hf_guidance.training import trainer as trainer_module

optuna.logging.set_verbosity(optuna.logging.WARNING)
NOTHING = {}
MIDDLE = "resnet.encoder.stages.0"


def guidance(trial):
    """Its weight, layer and attribution are drawn."""
    if trial is None:
        return Guidance(energy=Term(Energy(GradCAM(layer="final")), 1.0))
    method = {"cam": GradCAM, "ixg": InputXGradient}[trial.suggest_categorical("method", ["cam", "ixg"])]
    layer = trial.suggest_categorical("layer", ["final", MIDDLE])
    return Guidance(energy=Term(Energy(method(layer=layer)), trial.suggest_float("weight", 0.1, 100)))


def weighted(trial):
    return Guidance(energy=Term(Energy(GradCAM()), 1.0 if trial is None else trial.suggest_float("weight", 0.1, 100)))


class Noting(TrainerCallback):
    """Keeps what the trainer had in use at the end of every run."""

    def __init__(self):
        self.runs = []

    def on_train_end(self, args, state, control, **kwargs):
        own = self.trainer
        kept = {
            "guidance": own.guidance,
            "grounding": own.grounding,
            "watched": own._watch in own.callback_handler.callbacks,
        }
        measured = next((entry for entry in reversed(state.log_history) if "eval_loss" in entry), None)
        self.runs.append(
            SimpleNamespace(**kept, measured=measured, log=state.log_history, columns=list(own._signature_columns))
        )


@pytest.fixture
def searching(trainer_of, model_of):
    """A trainer that searches, with a Noting callback; keywords as those of trainer_of."""

    def make(function, trainer=NOTHING, **settings):
        noting = Noting()
        keywords = {"model_init": lambda trial: model_of(), "callbacks": [noting, *trainer.get("callbacks", ())]}
        defaults = {"eval_strategy": "epoch", "save_strategy": "epoch"}
        made = trainer_of(None, function, trainer={**trainer, **keywords}, **(defaults | settings))
        noting.trainer, made.noting = made, noting
        return made

    return make


def grid(**choices):
    trials = 1
    for values in choices.values():
        trials *= len(values)
    return {"sampler": optuna.samplers.GridSampler(choices, seed=0), "n_trials": trials, "backend": "optuna"}


def alone(trial):
    return {}


def test_a_weight_is_varied_and_each_checkpoint_tells_it(searching, tmp_path):
    trainer, store = searching(weighted), f"sqlite:///{tmp_path}/study.db"
    best = trainer.hyperparameter_search(
        alone, lambda metrics: metrics["eval_loss/energy"], **grid(weight=[0.1, 100.0]), storage=store, study_name="s",
        hp_name=lambda trial: f"weight-{trial.params['weight']}",
    )  # fmt: skip
    losses = [run.measured["eval_loss/energy"] for run in trainer.noting.runs]
    assert losses[0] != losses[1]
    assert best.objective == min(losses)
    for weight in (0.1, 100.0):
        saved = Guidance.load(tmp_path / "out" / f"weight-{weight}" / "checkpoint-6")
        assert saved["energy"].weight == weight
    assert trainer.noting.runs[int(best.run_id)].guidance["energy"].weight == best.hyperparameters["weight"]
    assert optuna.load_study(study_name="s", storage=store).best_params == best.hyperparameters
    again = searching(weighted).hyperparameter_search(
        alone, lambda metrics: metrics["eval_loss/energy"], n_trials=1, storage=store, study_name="s", load_if_exists=True,
        backend="optuna", sampler=optuna.samplers.RandomSampler(seed=1),
    )  # fmt: skip
    assert again.objective <= best.objective
    assert len(optuna.load_study(study_name="s", storage=store).trials) == 3


def test_layers_and_attributions_are_varied_and_grounding_follows(searching):
    trainer = searching(guidance, save_strategy="no")
    choices = {"method": ["cam", "ixg"], "layer": ["final", MIDDLE], "weight": [2.0]}
    trainer.hyperparameter_search(alone, lambda metrics: metrics["eval_epg"], direction="maximize", **grid(**choices))
    found = {run.grounding.attribution for run in trainer.noting.runs}
    assert found == {kind(layer=layer) for kind in (GradCAM, InputXGradient) for layer in ("final", MIDDLE)}
    assert len({run.measured["eval_epg"] for run in trainer.noting.runs}) == 4
    assert trainer.grounding.attribution == GradCAM(layer="final")


def test_a_grounding_that_was_given_stays(searching):
    given = Grounding(InputXGradient("input"))
    trainer = searching(guidance, trainer={"grounding": given}, save_strategy="no")
    trainer.hyperparameter_search(alone, **grid(method=["cam"], layer=["final"], weight=[2.0]))
    assert [run.grounding for run in trainer.noting.runs] == [given]
    assert trainer.grounding is given


def test_everything_else_follows_the_guidance(searching, processor, tmp_path):
    def terms(trial):
        name = "none" if trial is None else trial.suggest_categorical("term", ["none", "l1", "energy"])
        chosen = {"l1": L1(GradCAM(), importance="places"), "energy": Energy(GradCAM())}
        return Guidance({name: chosen[name]} if name in chosen else {})

    class Placed(GuidanceCollator):
        def __call__(self, rows):
            batch = super().__call__(rows)
            return batch | {"places": batch["importance"]}

    trainer = searching(terms, trainer={"data_collator": Placed(processor, num_labels=2)})
    assert trainer._watch not in trainer.callback_handler.callbacks
    trainer.hyperparameter_search(
        lambda trial: {"label_smoothing_factor": trial.suggest_categorical("label_smoothing_factor", [0.0, 0.25])},
        **grid(term=["none", "l1", "energy"], label_smoothing_factor=[0.25]),
    )
    found = {next(iter(run.guidance.guided), "none"): run for run in trainer.noting.runs}
    assert found.keys() == {"none", "l1", "energy"}
    for name, run in found.items():
        assert run.watched == bool(run.guidance.guided)
        assert ("places" in run.columns) == (name == "l1")
        logged = {key for entry in run.log for key in entry if key.startswith(("loss/", "undefined_share/"))}
        assert logged == {"loss/task"} | ({f"loss/{name}", f"undefined_share/{name}"} if name != "none" else set())
        assert (run.grounding is None) == (name == "none")
        assert run.guidance["task"].objective.label_smoothing == 0.25
    saved = {folder.name: Guidance.load(folder / "checkpoint-6") for folder in (tmp_path / "out").glob("run-*")}
    assert sorted(tuple(one.guided) for one in saved.values()) == [(), ("energy",), ("l1",)]
    assert all(one["task"].objective.label_smoothing == 0.25 for one in saved.values())


def test_layers_are_checked_when_a_trial_begins(searching):
    def wrong(trial):
        return Guidance(energy=Energy(GradCAM(layer="final" if trial is None else "resnet.missing")))

    trainer = searching(wrong, save_strategy="no")
    with pytest.raises(ValueError, match=r"resnet\.missing"):
        trainer.hyperparameter_search(alone, n_trials=1, backend="optuna")
    assert trainer.guidance == wrong(None)
    assert trainer.hp_search_backend is None
    assert trainer.train().global_step == 6


def test_after_a_search_it_trains_as_before_or_as_the_best(searching, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(trainer_module.logger, "warning", said.append)
    trainer = searching(weighted)
    best = trainer.hyperparameter_search(alone, lambda metrics: metrics["eval_loss/energy"], **grid(weight=[100.0]))
    assert dict(trainer.guidance) == dict(weighted(None))
    assert trainer.guidance["energy"].weight == 1.0
    saved = tmp_path / "out" / "run-0" / "checkpoint-6"
    trainer.args.num_train_epochs = 2
    trainer.train(str(saved), trial=FixedTrial(best.hyperparameters))
    assert trainer.guidance["energy"].weight == 100.0
    assert Guidance.load(tmp_path / "out" / "checkpoint-12") == weighted(FixedTrial(best.hyperparameters))
    assert said == []
    trainer.train(str(saved))
    assert trainer.guidance["energy"].weight == 1.0
    assert Guidance.load(tmp_path / "out" / "checkpoint-12")["energy"].weight == 1.0
    assert any("holds another guidance than this trainer's" in text for text in said)


def test_arguments_alone_are_varied_too(searching):
    trainer = searching(weighted, save_strategy="no")
    best = trainer.hyperparameter_search(
        lambda trial: {"learning_rate": trial.suggest_categorical("learning_rate", [1e-3, 1e-2])},
        **grid(learning_rate=[1e-3, 1e-2], weight=[1.0]),
    )
    assert best.hyperparameters.keys() == {"learning_rate", "weight"}
    assert len({run.measured["eval_loss"] for run in trainer.noting.runs}) == 2


def test_without_a_space_the_guidance_is_drawn_beside_that_of_trainer(searching):
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    drawn = searching(weighted)._space_with_guidance(None, "optuna")(trial)
    assert {"learning_rate", "num_train_epochs"} <= drawn.keys()
    assert {"weight", *drawn} == trial.params.keys()


def test_fronts_of_trials_hold_their_guidance(searching, tmp_path):
    trainer = searching(weighted, trainer={"callbacks": [ParetoCheckpoints(("eval_epg",))]}, save_strategy="no")
    trainer.hyperparameter_search(alone, **grid(weight=[0.1, 100.0]))
    fronts = [Guidance.load(tmp_path / "out" / f"pareto-{number}" / "step-6") for number in range(2)]
    assert [front["energy"].weight for front in fronts] == [
        run.guidance["energy"].weight for run in trainer.noting.runs
    ]


def test_a_pruned_trial_leaves_nothing_behind(searching):
    class Pruner(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number == 0

    trainer = searching(weighted, save_strategy="no", eval_strategy="steps", eval_steps=3, logging_steps=2)
    trainer.hyperparameter_search(alone, **grid(weight=[100.0, 0.1]), pruner=Pruner())
    second = trainer.noting.runs[1].log
    plain = searching(
        lambda trial: trainer.noting.runs[1].guidance, save_strategy="no", eval_strategy="no", logging_steps=2
    )
    plain.train()
    told = [
        [entry["loss/energy"] for entry in log if "loss/energy" in entry] for log in (second, plain.state.log_history)
    ]
    assert told[0] == pytest.approx(told[1])


def test_trials_that_are_dicts(searching, monkeypatch):
    """As those of Ray and of Weights & Biases."""

    def of_dict(trial):
        return Guidance(energy=Term(Energy(GradCAM()), 1.0 if trial is None else trial["energy_weight"]))

    monkeypatch.setitem(
        sys.modules, "wandb", SimpleNamespace(run=SimpleNamespace(id="1"), __spec__=ModuleSpec("wandb", None))
    )
    trainer = searching(of_dict, save_strategy="no", eval_strategy="no")
    trainer.hp_search_backend = HPSearchBackend.WANDB
    trainer.train(trial={"energy_weight": 7.0, "learning_rate": 0.01})
    assert trainer.guidance["energy"].weight == 7.0
    assert trainer.args.learning_rate == 0.01
    space = trainer._space_with_guidance(lambda trial: {"metric": {}}, "wandb")
    assert space(None) == {"metric": {}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda trial: weighted(trial.suggest_float("x", 0, 1)), r"failed for trial=None: 'NoneType'.*is called with None"),
        (lambda trial: Guidance(energy=trial["layer"]), r"failed for trial=None.*if trial is None else"),
        (lambda trial: Energy(GradCAM()), r"returned Energy\(.*it returns a Guidance"),
        ("energy", r"guidance='energy' is a str; give a Guidance, or a function of a trial"),
    ],
)  # fmt: skip
def test_what_is_no_guidance_of_a_trial(searching, given, message):
    with pytest.raises(ValueError, match=message):
        searching(given)


def test_trials_at_the_same_time_are_refused(searching):
    with pytest.raises(ValueError, match=r"n_jobs=2: trials that run at the same time would share this trainer"):
        searching(weighted).hyperparameter_search(alone, n_jobs=2, backend="optuna")


def test_a_search_for_the_worst_is_refused(searching):
    trainer = searching(weighted, save_strategy="no")
    with pytest.raises(
        ValueError, match=r"direction='maximize' with the objective eval_loss/energy would choose the worst"
    ):
        trainer.hyperparameter_search(
            alone, lambda metrics: metrics["eval_loss/energy"], direction="maximize", **grid(weight=[1.0])
        )
