"""SearchingTrainer: a Trainer whose guidance may be a function of the trial of a hyperparameter search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback
from transformers.hyperparameter_search import ALL_HYPERPARAMETER_SEARCH_BACKENDS, default_hp_search_backend
from transformers.trainer_utils import HPSearchBackend

from hf_guidance.evaluation.grounding import Grounding
from hf_guidance.guidance import Guidance
from hf_guidance.training.evaluating_trainer import EvaluatingTrainer
from hf_guidance.training.pareto_checkpoints import ParetoCheckpoints
from hf_guidance.training.search_objective import SearchObjective

GuidanceOfTrial = Guidance | Callable[[Any], Guidance]


class SearchingTrainer(EvaluatingTrainer):
    """Trainer whose guidance may be a function of the trial, so that ``hyperparameter_search`` can vary it.

    Whatever follows from the guidance is made anew for every trial, once its arguments are set (``_use_guidance``). Every
    checkpoint of a trial holds the guidance.json of that trial. After the search, and in a run that is no trial, the guidance
    is the function's for None; ``function(optuna.trial.FixedTrial(best.hyperparameters))`` is that of the best trial, and
    ``train(trial=FixedTrial(...))`` trains with it. As with Trainer, the arguments are then those of the last trial, and no
    model is there until ``train()`` makes one. Where the attribution of the first term is varied, give the trainer a
    ``grounding``, so that all trials are measured alike.

    Example:
        >>> def guidance(trial):
        ...     weight = 1.0 if trial is None else trial.suggest_float("weight", 0.1, 100, log=True)
        ...     return Guidance(energy=Term(Energy(GradCAM(layer="final")), weight))
        >>> trainer = GuidedTrainer(None, args, model_init=model_init, guidance=guidance, ...)
    """

    _given_guidance: GuidanceOfTrial
    _given_grounding: Grounding | None
    _in_trial = False  # whether the last run was a trial
    _outside: tuple[Guidance, Grounding | None, frozenset[str]]  # what is in use in a run that is none

    def _give_guidance(self, guidance: GuidanceOfTrial, grounding: Grounding | None) -> None:
        """Note what the user gave, before Trainer asks model_init for a model, which may be measured."""
        self._given_guidance, self._given_grounding = guidance, grounding
        self.guidance, self.grounding = self._guidance_of(None), grounding

    def _guidance_of(self, trial: Any) -> Guidance:
        guidance = self._with_own_task(guidance_of(self._given_guidance, trial))
        guidance.to_json()  # raises now what would otherwise end training at the first checkpoint
        return guidance

    def _with_own_task(self, guidance: Guidance) -> Guidance:
        raise NotImplementedError  # of GuidedTrainer

    def _use_guidance(self, guidance: Guidance) -> None:
        raise NotImplementedError  # of GuidedTrainer

    def _hp_search_setup(self, trial: Any) -> None:
        # train() calls it once the model of the run is there, with trial=None where it is no trial.
        super()._hp_search_setup(trial)
        if trial is None and not self._in_trial:
            return
        if not self._in_trial:
            self._outside = self.guidance, self.grounding, self._importance_columns
        self._in_trial = trial is not None
        self.__dict__.pop("_eval_dataloaders", None)  # Trainer keeps them, with the columns of the last trial
        self._use_guidance(self._guidance_of(trial))

    def _with_callback(self, callback: TrainerCallback, wanted: bool) -> None:
        """Have a callback, or not, whatever the last trial had."""
        has = callback in self.callback_handler.callbacks
        if wanted and not has:
            self.add_callback(callback)
        elif has and not wanted:
            self.remove_callback(callback)

    def _tell_fronts(self) -> None:
        """Give the fronts of a run the guidance of the run; a guidance that is no function they were given by the user."""
        for callback in self.callback_handler.callbacks if callable(self._given_guidance) else ():
            if isinstance(callback, ParetoCheckpoints):
                callback.guidance = self.guidance

    def hyperparameter_search(
        self,
        hp_space: Any = None,
        compute_objective: Any = None,
        n_trials: int = 20,
        direction: str | list[str] = "minimize",
        backend: Any = None,
        hp_name: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Trainer's search, which also varies the guidance, where ``guidance=`` is a function of the trial.

        The default objective is Trainer's: ``eval_loss``, or the sum of what ``compute_metrics`` gives, without the losses of
        the terms and the grounding. ``eval_loss`` holds the weighted terms, so where weights are varied give another.

        Args:
            hp_space: As for Trainer; ``lambda trial: {}`` varies the guidance alone.
            compute_objective: A function of the metrics of ``evaluate()``.
            n_trials: As for Trainer.
            direction: "minimize" or "maximize"; one for each objective, where there are several.
            backend: "optuna", "ray" or "wandb". With the two last the trial is a dict of the values that were drawn.
            hp_name: A function of the trial that names the folder of its checkpoints.
            **kwargs: As for Trainer.

        Returns:
            Trainer's BestRun.

        Raises:
            ValueError: A ``direction`` that would choose the worst trial by a metric of this library, or ``n_jobs`` that is not
                1: all trials share this trainer.

        Example:
            >>> best = trainer.hyperparameter_search(
            ...     lambda trial: {}, lambda metrics: metrics["eval_epg"], direction="maximize", backend="optuna"
            ... )
        """
        if kwargs.get("n_jobs", 1) != 1:
            raise ValueError(
                f"n_jobs={kwargs['n_jobs']}: trials that run at the same time would share this trainer, its arguments and its "
                "guidance. Leave n_jobs out; to search in parallel, start several processes with the same storage and "
                "study_name, and load_if_exists=True."
            )
        sets = self.eval_dataset if isinstance(self.eval_dataset, dict) else ()  # type: ignore[has-type]
        objective = SearchObjective(compute_objective, direction, sets, self._measured, self._weights)
        try:
            return super().hyperparameter_search(
                self._space_with_guidance(hp_space, backend), objective, n_trials, direction, backend, hp_name, **kwargs
            )
        finally:
            self.hp_search_backend = None
            if self._in_trial:
                self.guidance, self.grounding, self._importance_columns = self._outside
                self._tell_fronts()

    def _weights(self) -> dict[str, float]:
        return {name: term.weight for name, term in self.guidance.items()}

    def _space_with_guidance(self, hp_space: Any, backend: Any) -> Any:
        function = self._given_guidance
        if isinstance(function, Guidance):
            return hp_space
        chosen = HPSearchBackend(backend or default_hp_search_backend())
        given = hp_space or ALL_HYPERPARAMETER_SEARCH_BACKENDS[chosen]().default_hp_space

        def space(trial: Any) -> Any:
            # The guidance draws here: with several processes, the first one hands the values drawn by now to the others.
            if trial is not None:
                guidance_of(function, trial)
            return given(trial)

        return space


def guidance_of(given: GuidanceOfTrial, trial: Any) -> Guidance:
    """The guidance of a trial.

    Args:
        given: A Guidance, or a function of the trial that returns one.
        trial: The trial of a search: of Optuna, or a dict; None outside a search, as for model_init.

    Raises:
        ValueError: ``given`` is neither, or the function returns no Guidance, or it fails where there is no trial.
    """
    if isinstance(given, Guidance):
        return given
    if not callable(given):
        raise ValueError(
            f"guidance={given!r} is a {type(given).__name__}; give a Guidance, or a function of a trial that returns one."
        )
    try:
        found = given(trial)
    except (AttributeError, KeyError, TypeError) as error:
        if trial is not None:
            raise
        raise ValueError(
            f"the function given as guidance failed for trial=None: {error}. Outside a search it is called with None, as "
            "model_init is; say what a plain run takes, for example weight = 1.0 if trial is None else "
            "trial.suggest_float('weight', 0.1, 10)."
        ) from error
    if not isinstance(found, Guidance):
        raise ValueError(f"the function given as guidance returned {found!r}; it returns a Guidance.")
    return found
